// While PostgreSQL has the writes, a fault in the warm copy or in what keeps it warm is found, named and repaired. It
// blocks the revert until then.
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { testDatabase } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";

const WAIT = { timeout: 15_000 };

test("verify finds what differs in SQLite, and --repair repairs it; lost triggers and new columns block the revert", async () => {
  const file = testFile(
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
  );
  const database = await testDatabase(18);
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  const problems = async () =>
    ((await sidecar.status())?.problems as { code: string }[] | undefined)?.map(({ code }) => code) ?? [];
  try {
    await verify(sidecar);
    await move(sidecar, "postgres");
    // Past the fence, as only the sidecar may.
    file.writer().exec(`BEGIN; INSERT INTO _switchback_applying VALUES (1);
      UPDATE t SET v = 'wrong' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (9, 'extra');
      DELETE FROM _switchback_applying; COMMIT`);
    const found = await sidecar.cli(["verify", "--json"]);
    expect([found.code, JSON.parse(found.stdout)]).toMatchObject([
      1,
      { equal: false, tables: [{ name: "t", missing: 1, extra: 1, different: 1 }] },
    ]);
    const mended = await sidecar.cli(["verify", "--repair", "--json"]);
    expect([mended.code, JSON.parse(mended.stdout)]).toMatchObject([0, { equal: true }]);
    expect(await differences(file.path, database.url)).toEqual([]);

    await database.query("DROP TRIGGER switchback_capture_insert ON t");
    await database.query("INSERT INTO t VALUES (4, 'unseen')");
    await expect.poll(problems, WAIT).toContain("COPY_UNKNOWN");
    expect((await ask(sidecar, "sqlite")).document).toMatchObject({ flipped: false });
    expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
    await expect.poll(problems, WAIT).not.toContain("COPY_UNKNOWN");

    await database.query("ALTER TABLE t ADD COLUMN later text");
    await expect.poll(problems, WAIT).toContain("TARGET_CHANGED");
    const refused = await ask(sidecar, "sqlite");
    expect([refused.code, refused.document.reason]).toEqual([1, expect.stringContaining("later")]);
    await database.query("ALTER TABLE t DROP COLUMN later");
    await expect.poll(problems, WAIT).not.toContain("TARGET_CHANGED");
    await move(sidecar, "sqlite");
    expect(await differences(file.path, database.url)).toEqual([]);
  } finally {
    await sidecar.remove();
    await database.drop();
    file.remove();
  }
});
