"""The SQLite side of a writer that follows the route: each line of its input is one operation, and is one
transaction of an insert under a new name, a counter and a row that is replaced again and again.

usage: sqlite-writer.py FILE WRITER
Answers each line, a number, with `done`, `fenced` or the error."""
import sqlite3
import sys

path, writer = sys.argv[1], int(sys.argv[2])
home = sqlite3.connect(path, isolation_level=None, timeout=10)
home.execute("PRAGMA synchronous = NORMAL")


def write(n):
    name = "%d-%d" % (writer, n)
    home.execute("BEGIN IMMEDIATE")
    home.execute("INSERT INTO op VALUES (?, ?, ?)", (name, writer, n))
    home.execute("UPDATE counter SET value = value + 1 WHERE writer = ?", (writer,))
    home.execute("REPLACE INTO latest VALUES (?, ?)", (writer * 100 + n % 7, name))
    if n % 5 == 0:
        home.execute("DELETE FROM latest WHERE place = ?", (writer * 100 + n % 3,))
    home.execute("COMMIT")


for line in sys.stdin:
    try:
        write(int(line))
        print("done", flush=True)
    except sqlite3.Error as error:
        if home.in_transaction:
            home.execute("ROLLBACK")
        print("fenced" if "switchback: writes have moved to PostgreSQL" in str(error) else repr(error), flush=True)
