// The example in Python keeps what stands in quotes when it writes a statement in psycopg's form.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const EXAMPLE = readFileSync(new URL("../../deploy/examples/route_writer.py", import.meta.url), "utf8");
const [FUNCTION = ""] = /^def for_postgres[\s\S]*?\n\n/m.exec(EXAMPLE) ?? [];

test.each([
  ["INSERT INTO note (body) VALUES (?)", "INSERT INTO note (body) VALUES (%s)"],
  ["SELECT 'what?', \"a?b\" WHERE x = ?", "SELECT 'what?', \"a?b\" WHERE x = %s"],
  ["SELECT 5 % ? WHERE x LIKE 'it''s 100%?'", "SELECT 5 %% %s WHERE x LIKE 'it''s 100%%?'"],
])("%s", (sql, wanted) => {
  const program = `import re, sys\n${FUNCTION}print(for_postgres(sys.argv[1]), end="")`;
  expect(execFileSync("python3", ["-c", program, sql], { encoding: "utf8" })).toBe(wanted);
});
