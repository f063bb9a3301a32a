-- The migrations of switchback's records that were applied to this file. The program adds each later one.
CREATE TABLE _switchback_migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO _switchback_migration (number, name) VALUES (1, 'records'), (2, 'migration_log');
