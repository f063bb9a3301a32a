// One run of the random application under a sidecar. It writes while the history is copied and afterwards, and at
// every quiet point the two stores must hold the same rows by independent comparison.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Sidecar } from "./cli.js";
import { differences } from "./rows.js";
import { temporaryFolder } from "./scratch.js";
import { testDatabase, type Version } from "./servers.js";
import { python, pythonNow } from "./sqlite.js";

const SCRIPT = readFileSync(new URL("./traffic.py", import.meta.url), "utf8");

export interface TrafficOptions {
  readonly seed: number;
  readonly version: Version;
  /** Quiet points, each after so many transactions of two writers. */
  readonly quietPoints: number;
  readonly transactions: number;
}

export interface TrafficResult {
  readonly differences: string[];
  /** What the sidecar says of itself at the end. */
  readonly quarantined: number;
  readonly verify: { readonly code: number | null; readonly stdout: string };
}

/** Stops at the first quiet point that shows a difference. */
export async function runTraffic(options: TrafficOptions): Promise<TrafficResult> {
  const { folder, remove } = temporaryFolder();
  const file = join(folder, "app.db");
  pythonNow(SCRIPT, ["create", file]);
  const database = await testDatabase(options.version);
  const writers = [0, 1].map((n) => python(SCRIPT, ["write", file, String(options.seed * 2 + n)]));
  const top = { backfill: { workers: 2 } };
  const sidecar = await Sidecar.prepare({ sqlite: file, url: database.url, top });
  try {
    sidecar.start();
    const write = async () => {
      for (const writer of writers) writer.process.stdin?.write(`${options.transactions}\n`);
      for (const writer of writers) await writer.line();
    };
    let found: string[] = [];
    for (let point = 0; point < options.quietPoints && found.length === 0; point++) {
      await write();
      if (point === 0) await sidecar.waitPhase("streaming");
      await sidecar.waitDrained();
      found = await differences(file, database.url);
    }
    const status = await sidecar.status();
    const quarantined = (status?.sources ?? [])
      .flatMap((s) => s.tables)
      .reduce((sum, table) => sum + table.quarantined, 0);
    const verify = await sidecar.cli(["verify", "--json"]);
    await Promise.all(writers.map((writer) => writer.finish()));
    return { differences: found, quarantined, verify };
  } finally {
    for (const writer of writers) writer.kill();
    await sidecar.remove();
    await database.drop();
    remove();
  }
}
