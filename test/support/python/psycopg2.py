# The few words of psycopg2 that deploy/examples/route_writer.py uses, for machines without it: connect, a connection
# as a transaction, cursor().execute, Error. Statements go to psycopg2.js, one line of JSON each way.
import json, os, subprocess


class Error(Exception):
    pass


def connect(url):
    return Connection(url)


class Connection:
    def __init__(self, url):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "psycopg2.js")
        self.process = subprocess.Popen(
            ["node", script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf8"
        )
        self.begun = False

    def ask(self, sql, values=()):
        self.process.stdin.write(json.dumps({"sql": sql, "values": list(values)}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise Error("the connection is gone")
        message = json.loads(answer)["error"]
        if message is not None:
            raise Error(message)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.begun:
            self.begun = False
            self.ask("COMMIT" if kind is None else "ROLLBACK")

    def cursor(self):
        return self

    def execute(self, sql, values=()):
        if not self.begun:
            self.ask("BEGIN")
            self.begun = True
        for place in range(1, len(values) + 1):
            sql = sql.replace("%s", "$%d" % place, 1)
        self.ask(sql, values)
