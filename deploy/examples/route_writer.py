# An application in another language that follows the route: python3 route_writer.py FILE POSTGRES_URL ROUTE_FILE
# Writes a numbered row into note(body) for each line of its standard input, in whichever store takes the writes,
# and prints what was committed. It needs the route file, the fences' messages and nothing else of switchback.
import json, re, sqlite3, sys, time
import psycopg2

FILE, URL, ROUTE = sys.argv[1:4]
FENCES = ("switchback: writes have moved to PostgreSQL", "switchback: writes go to SQLite")
BUSY = ("database is locked", "database table is locked")
stores = {}

def route():
    try:
        with open(ROUTE) as file:
            return json.load(file)["writes"]
    except FileNotFoundError:
        return "sqlite"  # no cutover yet

def store(name):
    if name not in stores:
        stores[name] = sqlite3.connect(FILE, timeout=5) if name == "sqlite" else psycopg2.connect(URL)
    return stores[name]

def for_postgres(sql):  # a ? in quotes is text; psycopg reads every % as its own
    found = re.finditer(r"'[^']*'|\"[^\"]*\"|[^'\"]+", sql.replace("%", "%%"))
    return "".join(part[0] if part[0][0] in "'\"" else part[0].replace("?", "%s") for part in found)

def write(sql, values, until):
    while time.monotonic() < until:
        name = route()
        if name != "paused":
            try:
                with store(name) as transaction:  # commits, or rolls back
                    cursor = transaction.cursor()
                    cursor.execute(sql if name == "sqlite" else for_postgres(sql), values)
                return name
            except (sqlite3.Error, psycopg2.Error) as error:
                if not str(error).startswith(FENCES + BUSY):
                    stores.pop(name, None)  # it may be lost: connect again
                    raise  # a connection lost in COMMIT also ends here: ask before doing it again
        time.sleep(0.005)
    raise TimeoutError("waited too long for the route, which says " + route())

for line in sys.stdin:
    print(write("INSERT INTO note (body) VALUES (?)", (line.strip(),), time.monotonic() + 30), line.strip(), flush=True)
