-- Which migrations of switchback's records were applied to this file. Each later one is added by its program.
CREATE TABLE _switchback_migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO _switchback_migration (number, name) VALUES (1, 'records'), (2, 'migration_log');
