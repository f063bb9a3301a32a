BEGIN TRANSACTION;
CREATE TABLE _switchback_applying (one INTEGER PRIMARY KEY);
CREATE TABLE _switchback_carried (position INTEGER PRIMARY KEY, mark TEXT NOT NULL, keys TEXT);
INSERT INTO "_switchback_carried" VALUES(0,'',NULL);
CREATE TABLE _switchback_fenced (one INTEGER PRIMARY KEY);
CREATE TABLE _switchback_identity (identity TEXT NOT NULL);
INSERT INTO "_switchback_identity" VALUES('6f799d4e-c4fd-428b-8d35-20a55b2482a3');
CREATE TABLE _switchback_log (seq INTEGER PRIMARY KEY, t, k1, once DEFAULT (random() & 8388607));
INSERT INTO "_switchback_log" VALUES(1,2,3,5242874);
INSERT INTO "_switchback_log" VALUES(2,1,3,6791692);
INSERT INTO "_switchback_log" VALUES(3,1,1,582684);
INSERT INTO "_switchback_log" VALUES(4,4,2,4711498);
CREATE TABLE _switchback_position (position INTEGER NOT NULL, owner TEXT);
INSERT INTO "_switchback_position" VALUES(0,NULL);
CREATE TABLE _switchback_quarantine (
  table_name  TEXT NOT NULL,
  key         TEXT NOT NULL,
  column_name TEXT,
  reason      TEXT NOT NULL
);
CREATE TABLE _switchback_resting (n INTEGER PRIMARY KEY, name TEXT NOT NULL, ddl TEXT NOT NULL);
CREATE TABLE _switchback_route (writes TEXT NOT NULL, epoch INTEGER NOT NULL);
INSERT INTO "_switchback_route" VALUES('sqlite',0);
CREATE TABLE _switchback_table (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL,
  ddl   TEXT NOT NULL,
  since INTEGER NOT NULL
);
INSERT INTO "_switchback_table" VALUES(1,'account','CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, balance DECIMAL(10,2) DEFAULT 0)',0);
INSERT INTO "_switchback_table" VALUES(2,'entry','CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER REFERENCES account (id), at DATETIME, note TEXT)',0);
INSERT INTO "_switchback_table" VALUES(3,'setting','CREATE TABLE setting (key TEXT PRIMARY KEY, value) WITHOUT ROWID',0);
INSERT INTO "_switchback_table" VALUES(4,'visit','CREATE TABLE visit (page TEXT, hits INTEGER)',0);
CREATE TABLE _switchback_version (before INTEGER NOT NULL, after INTEGER NOT NULL);
CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, balance DECIMAL(10,2) DEFAULT 0);
INSERT INTO "account" VALUES(1,'Ada L.',11.5);
INSERT INTO "account" VALUES(2,'Grace',4);
INSERT INTO "account" VALUES(3,'Edsger',1.25);
CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER REFERENCES account (id), at DATETIME, note TEXT);
INSERT INTO "entry" VALUES(1,1,'2024-05-06 07:08:09','first');
INSERT INTO "entry" VALUES(2,2,'2024-05-06 07:08:10',NULL);
INSERT INTO "entry" VALUES(3,3,'2024-05-06 07:08:11','followed');
CREATE TABLE setting (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO "setting" VALUES('ratio',1.5);
INSERT INTO "setting" VALUES('size',12);
INSERT INTO "setting" VALUES('theme','dark');
CREATE TABLE visit (page TEXT, hits INTEGER);
INSERT INTO "visit" VALUES('/',3);
CREATE INDEX entry_at ON entry (at);
CREATE TRIGGER entry_made AFTER INSERT ON entry BEGIN UPDATE account SET balance = balance + 1 WHERE id = NEW.account; END;
CREATE INDEX _switchback_quarantine_key ON _switchback_quarantine (table_name, key);
CREATE TRIGGER "_switchback_1_insert" AFTER INSERT ON "account" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (1, NEW."id"); END;
CREATE TRIGGER "_switchback_1_update" AFTER UPDATE ON "account" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (1, NEW."id"); END;
CREATE TRIGGER "_switchback_1_rekey" AFTER UPDATE ON "account" WHEN OLD."id" COLLATE BINARY IS NOT NEW."id" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (1, OLD."id"); END;
CREATE TRIGGER "_switchback_1_delete" AFTER DELETE ON "account" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (1, OLD."id"); END;
CREATE TRIGGER "_switchback_1_evict_insert" BEFORE INSERT ON "account" BEGIN INSERT INTO _switchback_log (t, k1) SELECT 1, "id" FROM "account" WHERE "name" COLLATE "BINARY" = NEW."name"; END;
CREATE TRIGGER "_switchback_1_evict_update" BEFORE UPDATE ON "account" BEGIN INSERT INTO _switchback_log (t, k1) SELECT 1, "id" FROM "account" WHERE (NEW."name" IS NOT OLD."name") AND "name" COLLATE "BINARY" = NEW."name"; END;
CREATE TRIGGER "_switchback_2_insert" AFTER INSERT ON "entry" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (2, NEW."id"); END;
CREATE TRIGGER "_switchback_2_update" AFTER UPDATE ON "entry" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (2, NEW."id"); END;
CREATE TRIGGER "_switchback_2_rekey" AFTER UPDATE ON "entry" WHEN OLD."id" COLLATE BINARY IS NOT NEW."id" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (2, OLD."id"); END;
CREATE TRIGGER "_switchback_2_delete" AFTER DELETE ON "entry" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (2, OLD."id"); END;
CREATE TRIGGER "_switchback_3_insert" AFTER INSERT ON "setting" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (3, NEW."key"); END;
CREATE TRIGGER "_switchback_3_update" AFTER UPDATE ON "setting" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (3, NEW."key"); END;
CREATE TRIGGER "_switchback_3_rekey" AFTER UPDATE ON "setting" WHEN OLD."key" COLLATE BINARY IS NOT NEW."key" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (3, OLD."key"); END;
CREATE TRIGGER "_switchback_3_delete" AFTER DELETE ON "setting" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (3, OLD."key"); END;
CREATE TRIGGER "_switchback_4_insert" AFTER INSERT ON "visit" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (4, NEW.rowid); END;
CREATE TRIGGER "_switchback_4_update" AFTER UPDATE ON "visit" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (4, NEW.rowid); END;
CREATE TRIGGER "_switchback_4_rekey" AFTER UPDATE ON "visit" WHEN OLD.rowid COLLATE BINARY IS NOT NEW.rowid BEGIN INSERT INTO _switchback_log (t, k1) VALUES (4, OLD.rowid); END;
CREATE TRIGGER "_switchback_4_delete" AFTER DELETE ON "visit" BEGIN INSERT INTO _switchback_log (t, k1) VALUES (4, OLD.rowid); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('account',3);
COMMIT;
PRAGMA schema_version = 36;
