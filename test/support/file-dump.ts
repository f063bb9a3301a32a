// A SQLite file in words, as Python's sqlite3 sees it: the schema but for switchback's own objects, and every row
// with the class of every value. Two files that print the same hold the same.
import { pythonNow } from "./sqlite.js";

const DUMP = `
import sqlite3, struct, sys
db = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
db.text_factory = bytes
q = lambda name: '"%s"' % name.replace('"', '""')
def spelled(v, c):
    if c == b"text": return "t" + repr(v)[1:]
    if c == b"blob": return "b" + v.hex()
    if c == b"real": return "r" + struct.pack(">d", v).hex() + " " + repr(v)
    return "i%d" % v if c == b"integer" else "null"
objects = db.execute("""SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT GLOB '_switchback_*' AND tbl_name NOT GLOB '_switchback_*'
  ORDER BY type = 'table' DESC, CASE type WHEN 'trigger' THEN 0 END, rowid""").fetchall()
for kind, name, table, text in objects:
    print("schema", kind.decode(), name.decode(), (text or b"").decode())
names = [name.decode() for kind, name, _, text in objects if kind == b"table" and not name.startswith(b"sqlite_")]
for name in names:
    info = [row for row in db.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)) if row[6] != 1]
    # Where there is a key, the hidden number of a row means nothing and may change.
    wanted = ([] if any(row[5] for row in info) else ["rowid"]) + [q(row[1].decode()) for row in info]
    rows = db.execute("SELECT %s, %s FROM %s" % (", ".join(wanted), ", ".join("typeof(%s)" % w for w in wanted), q(name)))
    n = len(wanted)
    for line in sorted(" ".join(spelled(row[i], row[n + i]) for i in range(n)) for row in rows):
        print("row", name, line)
for row in db.execute("SELECT name, seq FROM sqlite_sequence WHERE name NOT GLOB '_switchback_*' ORDER BY name"):
    print("sequence", row)
print("integrity", db.execute("PRAGMA integrity_check").fetchall())
`;

/** Line by line; rows in no order that means anything, triggers in the order in which they were made. */
export function fileDump(path: string): string[] {
  return pythonNow(DUMP.trim(), [path]).trimEnd().split("\n");
}

/** What the `.dump` of the usual tools prints, without what is switchback's; order and spelling as they come. */
export function plainDump(path: string): string[] {
  const script = `
import sqlite3, sys
db = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
for line in db.iterdump():
    if "_switchback_" not in line: print(line)
`;
  return pythonNow(script.trim(), [path]).trimEnd().split("\n");
}
