// The fence is part of the copy: when someone takes it away, the next start puts it back and says so.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(
    `CREATE TABLE "Order Line"(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO "Order Line" VALUES (1, 1)`,
  );
  database = await testDatabase(18);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

for (const removal of [
  "DROP TRIGGER switchback_fence ON",
  "ALTER TABLE % DISABLE TRIGGER switchback_fence",
]) {
  test(`a fence that was taken away is put back: ${removal}`, async () => {
    expect((await sidecar.cli(["backfill"])).code).toBe(0);
    await database.query(
      removal.includes("%") ? removal.replace("%", '"Order Line"') : `${removal} "Order Line"`,
    );
    await database.query('UPDATE "Order Line" SET n = 2');
    const again = await sidecar.cli(["backfill"]);
    expect(again.code).toBe(0);
    expect(again.stderr).toContain("the fence of Order Line was gone");
    await expect(database.query('UPDATE "Order Line" SET n = 3')).rejects.toMatchObject({ code: "25006" });
    expect((await sidecar.cli(["verify"])).code).toBe(1);
    const third = await sidecar.cli(["backfill"]);
    expect(third.stderr).not.toContain("fence");
  });
}
