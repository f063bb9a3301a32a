-- The shape that switchback gave a table, in PostgreSQL's canonical text: what is no part of it is somebody else's.
ALTER TABLE switchback.followed ADD COLUMN shape jsonb;
