"""Random tables, triggers and statements, each run on a captured file and on a twin without capture.

  capture-twin.py create FOLDER SEED CASES   makes FOLDER/N.db, FOLDER/N.twin.db and FOLDER/N.idle.db
  capture-twin.py more FOLDER SEED CASES     gives all the triggers that the application makes later
  capture-twin.py run FOLDER SEED CASES STATEMENTS

Between the steps the caller installs capture in N.db. `run` prints a line for every changed row whose key is not in
the change log, and for every statement that ended otherwise than in the twin. Any trigger at all lets SQLite write
rows in another order, which shows where one row of many gets a unique value: what ends as in the third file, which has
triggers that do nothing, is no finding, but the case ends there.
"""
import random, re, sqlite3, struct, sys

step, folder, seed, cases = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
POLICIES = ["", "", "OR REPLACE", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT", "OR ROLLBACK"]
TEXTS = ["x", "X", "y", "bob", "BOB", "Bob ", "5", "k", "q"]
NOTES = ["first", "second", '{"x": 1}', '{"x": 2}', "bad", "worse", None, "fine"]


class Case:
    def __init__(self, n):
        self.n, r = n, random.Random("%s/%d/shape" % (seed, n))
        self.r = r
        pick, maybe = r.choice, lambda p, text: text if r.random() < p else ""
        self.key = pick(["auto", "auto", "counted", "text", "any", "nocase", "none", "pair"])
        kinds = {
            "auto": "a INTEGER PRIMARY KEY", "counted": "a INTEGER PRIMARY KEY AUTOINCREMENT",
            "text": "a TEXT NOT NULL %s PRIMARY KEY" % maybe(0.5, "DEFAULT 'k'"),
            "any": "a NOT NULL PRIMARY KEY", "nocase": "a TEXT COLLATE NOCASE NOT NULL PRIMARY KEY",
            "none": "a INTEGER", "pair": "a TEXT NOT NULL DEFAULT 'k'",
        }
        conflict = lambda: maybe(0.3, "ON CONFLICT " + pick(["REPLACE", "IGNORE", "FAIL", "ROLLBACK"]))
        default = pick(["'x'", "'x'", "5", '"y"', "(lower('BOB'))", "bob"])
        notnull = maybe(0.7, "NOT NULL %s DEFAULT %s" % (maybe(0.3, "ON CONFLICT REPLACE"), default))
        columns = [
            kinds[self.key],
            "u TEXT %s %s %s" % (maybe(0.4, "COLLATE NOCASE"), notnull, maybe(0.5, "UNIQUE " + conflict())),
            "n INTEGER %s" % maybe(0.5, "NOT NULL DEFAULT 3"),
        ]
        number = "a" if self.key in ("auto", "counted") else "n"
        stored = lambda: pick(["STORED", "VIRTUAL"])
        if r.random() < 0.6:
            made = pick(["u || '!'", "%s %% 10" % number, "n + 1", "lower(u)", "'no ' || %s" % number])
            columns.append("g AS (%s) %s %s" % (made, stored(), maybe(0.8, "UNIQUE " + conflict())))
            if r.random() < 0.5:
                columns.append("h AS (g || '?') %s %s" % (stored(), maybe(0.8, "UNIQUE " + conflict())))
        columns.append("c TEXT")
        if self.key == "pair":
            columns.append("PRIMARY KEY (a, n)")
        self.ddl = ["CREATE TABLE other(id INTEGER PRIMARY KEY, what TEXT UNIQUE)",
                    "CREATE TABLE t(%s)%s" % (", ".join(columns), " WITHOUT ROWID" if self.key == "pair" else "")]
        indexes = ["(%s %% 7)" % number, "u COLLATE BINARY", "u COLLATE NOCASE", "lower(u)", "printf('%s', u)", "n, u",
                   "json_extract(c, '$.x')", "c -> '$.x'"]
        for i, index in enumerate(r.sample(indexes, r.choice([0, 1, 1, 2]))):
            where = maybe(0.3, " WHERE c IS NOT NULL")
            if "'$.x'" in index:
                where = maybe(0.5, " WHERE json_valid(c)")
            self.ddl.append("CREATE UNIQUE INDEX i%d ON t(%s)%s" % (i, index, where))
        self.early = [self.trigger("early%d" % i, False) for i in range(r.choice([0, 0, 1, 2]))]
        self.late = [self.trigger("late%d" % i, False) for i in range(r.choice([0, 1, 1, 2]))]
        self.temp = [self.trigger("temp%d" % i, True) for i in range(r.choice([0, 0, 1, 2]))]

    def trigger(self, name, temp):
        r = self.r
        event = r.choice(["INSERT", "UPDATE", "DELETE"])
        # A TEMP trigger after an INSERT runs before any other, and nothing can be done about it.
        when = "BEFORE" if temp and event == "INSERT" else r.choice(["BEFORE", "AFTER", "AFTER"])
        row = "OLD" if event == "DELETE" else "NEW"
        act = r.choice(["SELECT RAISE(IGNORE)", "SELECT RAISE(IGNORE)", "SELECT RAISE(FAIL, 'refused')",
                        "SELECT RAISE(ABORT, 'refused')", "INSERT INTO other(what) VALUES (%s.c)" % row,
                        "DELETE FROM other WHERE what = %s.c" % row])
        return "CREATE %s TRIGGER %s %s %s ON main.t WHEN %s.c IN ('bad', 'worse', 'fine') BEGIN %s; END" % (
            "TEMP" if temp else "", name, when, event, row, act) if temp else \
            "CREATE TRIGGER %s %s %s ON t WHEN %s.c IN ('bad', 'worse') BEGIN %s; END" % (name, when, event, row, act)

    def files(self):
        return ["%s/%d.%s" % (folder, self.n, kind) for kind in ("db", "twin.db", "idle.db")]


def connect(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    return db


def attempt(db, statement, values=()):
    try:
        cursor = db.execute(statement, values)
        rows = cursor.fetchall()
        return ("done", cursor.rowcount, rows)
    except sqlite3.Error as error:
        return (type(error).__name__, str(error))


def statement(case, r):
    numbered = case.key in ("auto", "counted", "none")
    def a():
        if numbered: return r.choice([None, None, None, r.randint(-2, 24)])
        if case.key == "any": return r.choice([0, -0.0, 0.0, 1, 1.0, "1", b"1", 2, 2.5, "x", "X"])
        return r.choice(["k", "K", "x", "X", "y", None, "p", "Q"])
    u = lambda: r.choice(TEXTS + [None, None, None, 5])
    n = lambda: r.choice([1, 2, 3, 4, 5, None, "3", 7])
    c = lambda: r.choice(NOTES)
    policy = r.choice(POLICIES)
    kind = r.random()
    if kind < 0.5:
        names = [name for name in ("a", "u", "n", "c") if r.random() < 0.75] or ["c"]
        row = lambda: [{"a": a, "u": u, "n": n, "c": c}[name]() for name in names]
        rows = [row() for _ in range(r.choice([1, 1, 1, 2, 3]))]
        marks = ", ".join("(%s)" % ", ".join("?" * len(names)) for _ in rows)
        tail = r.choice([" ON CONFLICT DO NOTHING", " ON CONFLICT DO UPDATE SET c = excluded.c, u = excluded.u"]) \
            if policy == "" and r.random() < 0.5 else ""
        return "INSERT %s INTO t(%s) VALUES %s%s" % (policy, ", ".join(names), marks, tail), sum(rows, [])
    if kind < 0.9:
        sets = [(name, {"a": a, "u": u, "n": n, "c": c}[name]()) for name in ("a", "u", "n", "c") if r.random() < 0.4]
        sets = sets or [("u", u())]
        where, value = r.choice([("a = ?", a()), ("n = ?", n()), ("u = ?", u()), ("n > ?", 2), ("1 = ?", 1)])
        return "UPDATE %s t SET %s WHERE %s" % (policy, ", ".join("%s = ?" % name for name, _ in sets), where), \
            [value for _, value in sets] + [value]
    where, value = r.choice([("a = ?", a()), ("n = ?", n()), ("c = ?", c())])
    return "DELETE FROM t WHERE %s" % where, [value]


def exact(value):
    return struct.pack(">d", value).hex() if isinstance(value, float) else value


def state(db, key):
    names = {"none": "rowid", "pair": "a, n"}.get(key, "a")
    width = 2 if key == "pair" else 1
    rows = {}
    for row in db.execute("SELECT %s, * FROM t" % names):
        rows[row[:width]] = tuple((type(v).__name__, exact(v)) for v in row)
    return rows


def run(case, count):
    found = []
    dbs = [connect(path) for path in case.files()]
    for db in dbs:
        for trigger in case.temp: db.execute(trigger)
    ours, twin, idle = dbs
    for when in ("BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "BEFORE DELETE"):
        idle.execute("CREATE TRIGGER \"idle %s\" %s ON t BEGIN SELECT 1; END" % (when, when))
    number = ours.execute("SELECT id FROM _switchback_table WHERE name = 't'").fetchone()[0]
    width = 2 if case.key == "pair" else 1
    r = random.Random("%s/%d/statements" % (seed, case.n))
    for i in range(count):
        text, values = statement(case, r)
        before = state(ours, case.key)
        mark = ours.execute("SELECT coalesce(max(seq), 0) FROM _switchback_log").fetchone()[0]
        outcome, expected, other = [attempt(db, text, values) for db in dbs]
        after = state(ours, case.key)
        logged = set(row for row in ours.execute(
            "SELECT %s FROM _switchback_log WHERE seq > ? AND t = ?" % ", ".join("k%d" % (k + 1) for k in range(width)), (mark, number)))
        where = "case %d statement %d: %s %r" % (case.n, i, text, values)
        context = "\n  ".join(case.ddl + case.early + case.late + case.temp)
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        for key in changed:
            if key not in logged:
                found.append("NOT LOGGED %r: %s\n  %s\n  %r -> %r" % (key, where, context, before.get(key), after.get(key)))
        if (outcome, after) != (expected, state(twin, case.key)):
            if (outcome, after) != (other, state(idle, case.key)):
                found.append("OTHERWISE %r, twin %r: %s\n  %s" % (outcome, expected, where, context))
            break
    for db in dbs: db.close()
    return found


total = 0
for n in range(cases):
    case = Case(n)
    if step == "run":
        for line in run(case, int(sys.argv[5])):
            total += 1
            if total <= 8: print(line)
        continue
    for path in case.files():
        db = connect(path)
        for ddl in (case.ddl + case.early if step == "create" else case.late): db.execute(ddl)
        if step == "create":
            for i, c in enumerate(("first", "second", '{"x": 1}')):
                attempt(db, "INSERT INTO t(a, u, n, c) VALUES (?, ?, ?, ?)",
                        (str(i) if case.key in ("text", "nocase", "pair") else i + 1, TEXTS[2 + i], i + 1, c))
        db.close()
if step == "run": print("findings: %d" % total)
