// Staying with PostgreSQL for good: `teardown --keep postgres`, and what a sidecar that is started again by mistake
// may not do. It must not send the application back to a file that is old and takes writes again.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { move, routeFile, verify } from "../support/flips.js";
import { testDatabase } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";

test("a sidecar started after `teardown --keep postgres` leaves the route where it is", async () => {
  const file = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one')");
  const database = await testDatabase(15);
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  try {
    await verify(sidecar);
    await move(sidecar, "postgres");
    await database.query("INSERT INTO t(v) VALUES ('two')");
    expect(await sidecar.term()).toBe(0);
    expect((await sidecar.cli(["teardown"])).stderr).toContain("WOULD_LOSE");
    const kept = await sidecar.cli(["teardown", "--keep", "postgres"]);
    expect([kept.code, kept.stdout]).toEqual([0, expect.stringContaining("A revert is no longer possible")]);

    const again = await sidecar.cli(["run"]);
    expect([again.code, again.stderr]).toEqual([4, expect.stringContaining("ROUTE_AHEAD")]);
    expect(routeFile(sidecar)).toMatchObject({ writes: "postgres", epoch: 1 });
    expect(await database.query("SELECT to_regnamespace('switchback') AS made")).toEqual([{ made: null }]);
    expect(await database.query("SELECT v FROM t ORDER BY id")).toEqual([{ v: "one" }, { v: "two" }]);

    // The operator's own word: SQLite begins again, and PostgreSQL's rows stand in the way as ever.
    rmSync(join(sidecar.folder, "route.json"));
    const anew = await sidecar.cli(["run"]);
    expect([anew.code, anew.stderr]).toEqual([4, expect.stringContaining("TARGET_NOT_EMPTY")]);
  } finally {
    await sidecar.remove();
    await database.drop();
    file.remove();
  }
});
