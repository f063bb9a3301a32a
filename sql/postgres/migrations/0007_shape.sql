-- The shape that switchback gave a table, in PostgreSQL's canonical text: all other parts of the table belong to
-- others.
ALTER TABLE switchback.followed ADD COLUMN shape jsonb;
