"""An application of chance: every way in which SQLite changes a row, on tables with every kind of key, through
Python's sqlite3, whose connections leave recursive_triggers off.

usage: traffic.py create FILE | traffic.py write FILE SEED
`write` reads a number of transactions per line of its input, commits that many, and answers `done`."""
import math
import random
import sqlite3
import sys
import time

SCHEMA = """
CREATE TABLE people(id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, nick TEXT COLLATE NOCASE,
  score REAL, bio TEXT, edits INTEGER NOT NULL DEFAULT 0, UNIQUE(nick));
CREATE TABLE orders(id INTEGER PRIMARY KEY, person INTEGER REFERENCES people(id) ON DELETE CASCADE ON UPDATE CASCADE,
  sku TEXT, qty INTEGER, total NUMERIC, lower_digits AS (qty % 1000) VIRTUAL);
CREATE UNIQUE INDEX orders_sku ON orders(person, sku) WHERE sku IS NOT NULL;
CREATE INDEX orders_total ON orders(total DESC);
CREATE TABLE codes(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, code TEXT UNIQUE ON CONFLICT REPLACE,
  v INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 7);
CREATE TABLE names(k TEXT PRIMARY KEY COLLATE NOCASE NOT NULL, v, tag TEXT);
CREATE UNIQUE INDEX names_tag ON names(lower(tag));
CREATE TABLE pairs(a TEXT, b INTEGER, c BLOB UNIQUE, w REAL, PRIMARY KEY(a, b)) WITHOUT ROWID;
CREATE TABLE loose(k PRIMARY KEY NOT NULL, v);
CREATE TABLE gaps(k TEXT PRIMARY KEY, v INTEGER);
CREATE TABLE audit(what TEXT, n INTEGER);
CREATE TABLE slots(pos INTEGER PRIMARY KEY, who TEXT UNIQUE);
CREATE TABLE nodes(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES nodes(id) ON DELETE SET NULL ON UPDATE CASCADE,
  label TEXT);
CREATE TABLE downwards(n INTEGER PRIMARY KEY DESC NOT NULL, v TEXT);
CREATE TABLE reals(k REAL PRIMARY KEY NOT NULL, v TEXT);
CREATE TABLE blobs(k BLOB PRIMARY KEY NOT NULL, v TEXT);
CREATE TABLE boxes(id INTEGER PRIMARY KEY, tag TEXT, low TEXT AS (lower(tag)) VIRTUAL UNIQUE, w INTEGER);
CREATE TABLE "Odd ""Name"" Select"("Id" INTEGER PRIMARY KEY, "from" TEXT UNIQUE, "a b" BLOB, "Ünï" REAL);
-- A key that has a NULL in it whenever the sidecar looks: this row nobody can remove.
INSERT INTO gaps(rowid, k, v) VALUES (1000000, NULL, -99);
CREATE TRIGGER gaps_stays BEFORE DELETE ON gaps WHEN OLD.v = -99 BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER gaps_keeps BEFORE UPDATE ON gaps WHEN OLD.v = -99 BEGIN SELECT RAISE(IGNORE); END;
CREATE VIEW shop AS SELECT person, sku, qty FROM orders;
CREATE TRIGGER shop_insert INSTEAD OF INSERT ON shop BEGIN
  INSERT INTO orders(person, sku, qty) VALUES (NEW.person, NEW.sku, NEW.qty); END;
CREATE TRIGGER people_edit AFTER UPDATE OF bio ON people BEGIN
  UPDATE people SET edits = edits + 1 WHERE id = NEW.id; END;
CREATE TRIGGER orders_made AFTER INSERT ON orders BEGIN INSERT INTO audit VALUES ('made', NEW.id); END;
CREATE TRIGGER orders_gone BEFORE DELETE ON orders BEGIN INSERT INTO audit VALUES ('gone', OLD.id); END;
CREATE TRIGGER slots_moved AFTER UPDATE ON slots BEGIN
  REPLACE INTO names(k, v) VALUES ('slot' || NEW.pos % 7, NEW.who); END;
CREATE TRIGGER nodes_first BEFORE INSERT ON nodes BEGIN UPDATE nodes SET label = label || '+' WHERE id = NEW.parent; END;
"""

TEXTS = ["", "a", "Bob", "bob", "BOB", "tab\tnew\nline", "back\\slash \\N \\.", "it's \"quoted\"", "é ü 漢字 😀", "NULL", "x" * 300]
INTEGERS = [0, 1, -1, 42, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
REALS = [0.0, -0.0, 0.1, 1 / 3, -2.5e-300, 1.7e308, 1e15, 123456.789, math.pi]


class Application:
    def __init__(self, path, seed):
        self.random = random.Random(seed)
        self.db = sqlite3.connect(path, isolation_level=None, timeout=20)
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.rowids = True

    # -- values, from small sets so that they collide

    def pick(self, values):
        return self.random.choice(values)

    def id(self):
        return self.random.randrange(1, 120)

    def word(self):
        return self.pick(["ab", "Ab", "AB", "cd", "Cd", "é"]) + str(self.random.randrange(40))

    def text(self):
        return self.pick(TEXTS) if self.random.random() < 0.5 else "text %d" % self.random.randrange(1000)

    def blob(self):
        return bytes(self.random.randrange(256) for _ in range(self.random.randrange(3)))

    def real(self):
        return self.pick(REALS) if self.random.random() < 0.3 else self.random.random() * 1000

    def anything(self):
        return self.pick([None, 1, 1.0, "1", b"1", self.text(), self.blob(), self.pick(INTEGERS), self.random.random()])

    def loose_key(self):
        n = self.random.randrange(25)
        return self.pick([n, float(n), str(n), str(n).encode(), n + 0.5])

    def maybe(self, make):
        return None if self.random.random() < 0.15 else make()

    def tables(self):
        """Name, columns with a maker each, and the key's columns."""
        i, w, t = self.id, self.word, self.text
        number = lambda: self.pick(INTEGERS) if self.random.random() < 0.2 else self.random.randrange(1000)
        return {
            "people": ([("id", i), ("email", w), ("nick", lambda: self.maybe(w)), ("score", lambda: self.maybe(self.real)), ("bio", t)], ["id"]),
            "orders": ([("id", i), ("person", lambda: self.maybe(i)), ("sku", lambda: self.maybe(w)), ("qty", number), ("total", lambda: self.pick([1, 2.5, None, self.real()]))], ["id"]),
            "codes": ([("id", i), ("code", lambda: self.maybe(w)), ("v", lambda: self.maybe(number))], ["id"]),
            "names": ([("k", w), ("v", self.anything), ("tag", lambda: self.maybe(w))], ["k"]),
            "pairs": ([("a", w), ("b", lambda: self.random.randrange(4)), ("c", lambda: self.maybe(self.blob)), ("w", self.real)], ["a", "b"]),
            "loose": ([("k", self.loose_key), ("v", self.anything)], ["k"]),
            "gaps": ([("k", lambda: self.maybe(w)), ("v", number)], ["k"]),
            "audit": ([("what", t), ("n", lambda: self.random.randrange(5))], ["n"]),
            "slots": ([("pos", lambda: self.random.randrange(60)), ("who", lambda: self.maybe(w))], ["pos"]),
            "nodes": ([("id", i), ("parent", lambda: self.maybe(i)), ("label", t)], ["id"]),
            "downwards": ([("n", i), ("v", t)], ["n"]),
            "reals": ([("k", lambda: self.pick(REALS + [1, 2, 3])), ("v", t)], ["k"]),
            "blobs": ([("k", self.blob), ("v", t)], ["k"]),
            "boxes": ([("id", i), ("tag", lambda: self.maybe(w)), ("w", number)], ["id"]),
            'Odd "Name" Select': ([("Id", i), ("from", w), ("a b", self.blob), ("Ünï", self.real)], ["Id"]),
        }

    # -- operations

    def one(self):
        name, (columns, key) = self.pick(list(self.tables().items()))
        kinds = [self.insert] * 5 + [self.update] * 4 + [self.delete] * 2 + [self.upsert] * 2 + [self.rowid, self.swap, self.cascade, self.sweep]
        self.pick(kinds)(name, columns, key)

    def run(self, sql, values=()):
        self.db.execute(sql, values)

    def insert(self, name, columns, key):
        verb = self.pick(["INSERT", "INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ABORT", "INSERT OR ROLLBACK"])
        if self.random.random() < 0.3:  # leave an automatic key to SQLite
            columns = [c for c in columns if c[0] not in ("id", "Id", "pos")]
        rows = self.pick([1, 1, 1, 3])
        marks = ",".join(["(%s)" % ",".join("?" * len(columns))] * rows)
        self.run("%s INTO %s(%s) VALUES %s" % (verb, q(name), ",".join(q(c) for c, _ in columns), marks), [make() for _ in range(rows) for _, make in columns])

    def update(self, name, columns, key):
        verb = self.pick(["UPDATE", "UPDATE OR REPLACE", "UPDATE OR REPLACE", "UPDATE OR IGNORE", "UPDATE OR FAIL"])
        some = self.random.sample(columns, self.random.randrange(1, len(columns) + 1))
        where, values = self.where(name, columns, key)
        self.run("%s %s SET %s WHERE %s" % (verb, q(name), ",".join("%s=?" % q(c) for c, _ in some), where), [make() for _, make in some] + values)

    def delete(self, name, columns, key):
        where, values = self.where(name, columns, key)
        self.run("DELETE FROM %s WHERE %s" % (q(name), where), values)

    def where(self, name, columns, key):
        """One row that exists, most of the time; else whatever lies beside a value."""
        if self.random.random() < 0.7:
            n = self.db.execute("SELECT count(*) FROM %s" % q(name)).fetchone()[0]
            if n:
                row = self.db.execute("SELECT %s FROM %s LIMIT 1 OFFSET ?" % (",".join(map(q, key)), q(name)), [self.random.randrange(n)]).fetchone()
                return " AND ".join("%s IS ?" % q(c) for c in key), list(row)
        column, make = self.pick(columns)
        value = make()
        return ("%s %s ?" % (q(column), self.pick(["IS", "IS", "="])), [value])

    def upsert(self, name, columns, key):
        if name in ("gaps", "audit"):
            return self.insert(name, columns, key)
        names = [c for c, _ in columns]
        sets = ",".join("%s=excluded.%s" % (q(c), q(c)) for c in names if c not in key)
        target = "email" if name == "people" and self.random.random() < 0.5 else ",".join(map(q, key))
        act = self.pick(["DO UPDATE SET " + sets, "DO UPDATE SET " + sets, "DO NOTHING"])
        self.run("INSERT INTO %s(%s) VALUES (%s) ON CONFLICT(%s) %s" % (q(name), ",".join(map(q, names)), ",".join("?" * len(names)), target, act), [make() for _, make in columns])

    def rowid(self, name, columns, key):
        if name == "pairs" or not self.rowids:
            return self.update(name, columns, key)
        verb = self.pick(["UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"])
        n = self.db.execute("SELECT count(*) FROM %s" % q(name)).fetchone()[0]
        rowid = self.db.execute("SELECT rowid FROM %s ORDER BY rowid LIMIT 1 OFFSET ?" % q(name), [self.random.randrange(n or 1)]).fetchone()
        if rowid:
            self.run("%s %s SET rowid=? WHERE rowid=?" % (verb, q(name)), [self.id(), rowid[0]])

    def swap(self, *_):
        a, b = self.random.sample(range(60), 2)
        rows = self.db.execute("SELECT pos, who FROM slots WHERE pos IN (?,?)", (a, b)).fetchall()
        if len(rows) == 2:
            (a, x), (b, y) = rows
            self.run("UPDATE slots SET who=NULL WHERE pos=?", (a,))
            self.run("UPDATE slots SET who=? WHERE pos=?", (x, b))
            self.run("UPDATE slots SET who=? WHERE pos=?", (y, a))

    def cascade(self, *_):
        pick = self.pick(["DELETE FROM people WHERE id=?1", "UPDATE OR IGNORE people SET id=id+200 WHERE id=?1", "DELETE FROM nodes WHERE id=?1",
                          "UPDATE OR REPLACE nodes SET id=id+1 WHERE id=?1", "INSERT INTO shop VALUES (?1,'view',1)", "UPDATE people SET bio=bio||'.' WHERE id>?1",
                          # keys that change although they compare equal
                          "UPDATE names SET k=upper(k) WHERE rowid%7=?1%7", "UPDATE names SET k=lower(k) WHERE rowid%7=?1%7",
                          "UPDATE loose SET k=k+0.0 WHERE typeof(k)='integer' AND k=?1%25"])
        self.run(pick, (self.id(),))

    def sweep(self, name, columns, key):
        if self.random.random() < 0.05:
            self.run("DELETE FROM %s" % q(name))
        else:
            self.run("UPDATE OR REPLACE slots SET who=lower(who) WHERE pos<?", (self.random.randrange(60),))

    def transaction(self):
        # part of the applications out there enforce foreign keys, part do not
        self.db.execute("PRAGMA foreign_keys = %s" % self.pick(["ON", "ON", "OFF"]))
        # not deferred: two writers that read first would refuse each other
        self.db.execute("BEGIN IMMEDIATE")
        for _ in range(self.pick([1, 1, 1, 2, 6, 25])):
            if not self.db.in_transaction:
                return  # OR ROLLBACK ended it
            nested = self.random.random() < 0.3
            if nested:
                self.db.execute("SAVEPOINT part")
            try:
                self.one()
                if nested and self.random.random() < 0.3:
                    self.db.execute("ROLLBACK TO part")
            except sqlite3.IntegrityError as error:
                refuse_ours(error)
                if nested and self.db.in_transaction:
                    self.db.execute("ROLLBACK TO part")
            except OverflowError:
                pass
            if nested and self.db.in_transaction:
                self.db.execute("RELEASE part")
        if self.db.in_transaction:
            try:
                self.db.execute("ROLLBACK" if self.random.random() < 0.07 else "COMMIT")
            except sqlite3.IntegrityError as error:
                refuse_ours(error)
                self.db.execute("ROLLBACK")


def refuse_ours(error):
    if "switchback" in str(error):
        raise error


def q(name):
    return '"%s"' % name.replace('"', '""')


def create(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    application = Application(path, 1)
    db.execute("INSERT INTO gaps VALUES (NULL, 1), (NULL, 2)")
    for name, (columns, _) in application.tables().items():
        for _ in range(80):
            application.run("INSERT OR IGNORE INTO %s(%s) VALUES (%s)" % (q(name), ",".join(q(c) for c, _ in columns), ",".join("?" * len(columns))), [make() for _, make in columns])


def write(path, seed):
    application = Application(path, seed)
    for line in sys.stdin:
        for _ in range(int(line)):
            application.transaction()
            time.sleep(0.0003)
        print("done", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "create":
        create(sys.argv[2])
    else:
        write(sys.argv[2], int(sys.argv[3]))
