// A sidecar whose target was taken over without its knowledge must not write there any more. The position belongs to
// an owner, and a window of any other fails as a whole.
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { testDatabase } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";

test("a window of a sidecar that is no longer the owner changes nothing, and halts it", async () => {
  const file = testFile("CREATE TABLE entry(id INTEGER PRIMARY KEY); INSERT INTO entry VALUES (1)");
  const database = await testDatabase(15);
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  try {
    await database.query("UPDATE switchback.source SET owner = 'somebody else'");
    file.writer().exec("INSERT INTO entry VALUES (2)");
    const status = await sidecar.waitPhase("halted");
    expect(JSON.stringify(status.problems)).toContain("POSITION_CONFLICT");
    expect(await database.query("SELECT id::int FROM entry")).toEqual([{ id: 1 }]);
    expect(await database.query("SELECT position::int FROM switchback.source")).toEqual([{ position: 0 }]);
  } finally {
    await sidecar.remove();
    await database.drop();
    file.remove();
  }
});
