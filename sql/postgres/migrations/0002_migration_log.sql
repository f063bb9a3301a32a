-- The migrations of switchback's records that were applied to this database. The program adds each later one.
CREATE TABLE switchback.migration (
  number     int         PRIMARY KEY,
  name       text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO switchback.migration (number, name) VALUES (1, 'records'), (2, 'migration_log');
