// Row-level security on the copy that applies to the sidecar's own role: a policy would hide rows from its deletions and
// comparisons without an error. It is named with its policies, nothing goes past it, and all continues once it is gone.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar | undefined;
let role: string;
let url: string;

beforeEach(async () => {
  file = testFile(`CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT, tenant INTEGER);
    INSERT INTO note VALUES (1, 'x', 1), (2, 'y', 2), (3, 'z', 2)`);
  database = await testDatabase(15);
  role = `owner_${database.name}`;
  await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`);
  await database.query(`GRANT CREATE, TEMPORARY ON DATABASE ${database.name} TO ${role}`);
  await database.query(`GRANT ALL ON SCHEMA public TO ${role}`);
  url = database.url.replace(/\/\/[^@]+@/, `//${role}:x@`);
});
afterEach(async () => {
  await sidecar?.remove();
  sidecar = undefined;
  await database.query(`DROP OWNED BY ${role} CASCADE`);
  await database.query(`DROP ROLE ${role}`);
  await database.drop();
  file.remove();
});

const POLICY = `ALTER TABLE note ENABLE ROW LEVEL SECURITY; ALTER TABLE note FORCE ROW LEVEL SECURITY;
  CREATE POLICY "one tenant" ON note USING (tenant = 1)`;

test("a policy that appears on the copy hides no deletion: it is named until it is gone", async () => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url });
  await database.query(POLICY);
  file.writer().exec("DELETE FROM note WHERE id > 1; INSERT INTO note VALUES (4, 'w', 2)");
  const named = (problems: readonly unknown[]) =>
    problems.some((problem) => {
      const { code, message } = problem as { code: string; message: string };
      return code === "POSTGRES_ROW_SECURITY" && message.includes("one tenant") && message.includes("note");
    });
  await sidecar.waitFor("a problem that names the policy", ({ problems }) => named(problems));
  const { code, stdout } = await sidecar.cli(["verify"]);
  expect([code, stdout]).not.toEqual([0, expect.anything()]);
  const { stdout: answer } = await sidecar.cli(["cutover", "--json", "--timeout", "1s"]);
  expect(answer).toContain('"flipped":false');
  await database.query("ALTER TABLE note NO FORCE ROW LEVEL SECURITY");
  await sidecar.waitFor("an end of the problem", ({ problems }) => problems.length === 0);
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  expect((await sidecar.cli(["verify"])).code).toBe(0);
});

test("an adopted table under a policy is a blocker that names it, and no copy begins", async () => {
  await database.query("CREATE TABLE note (id bigint PRIMARY KEY, body text, tenant bigint)");
  await database.query(`ALTER TABLE note OWNER TO ${role}`);
  await database.query(POLICY);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url, source: { target: "adopt" } });
  const { code, stdout } = await sidecar.cli(["check", "--json"]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout).findings).toContainEqual(
    expect.objectContaining({
      severity: "blocker",
      code: "target-row-security",
      table: "note",
      message: expect.stringContaining('"one tenant"'),
    }),
  );
  const run = await sidecar.cli(["run"]);
  expect(run.code).toBe(3);
  expect(run.stderr).toContain("POSTGRES_ROW_SECURITY");
  await database.query("ALTER TABLE note NO FORCE ROW LEVEL SECURITY");
  const again = JSON.parse((await sidecar.cli(["check", "--json"])).stdout);
  expect(again.ok).toBe(true);
});
