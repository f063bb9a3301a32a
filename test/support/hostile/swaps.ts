// Stores that are swapped: backups put back, files moved, the log tampered with, an older database. What the operator
// then does is what the page on backups says.
import { copyFileSync, existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { copyFile, restoreFile } from "../backups.js";
import type { Store } from "../flips.js";
import { type Kind, of } from "./kind.js";
import { move } from "./move.js";
import { dropStanding, quiet, settle, startAgainFromSqlite, Wrong } from "./settle.js";
import type { World } from "./world.js";

/** The writes acknowledged when a backup was made. */
const kept = new WeakMap<World, Map<string, Store>>();

const NOTICED_MS = 15_000;
const LOST = ["SQLITE_REWOUND", "LOG_TAMPERED", "SQLITE_REPLACED", "CAPTURE_LOST", "SHAPE_DIFFERS"];

/** A backup is put back while SQLite has the writes: the application loses what came after, and knows it. */
const backupKind: Kind = {
  name: "backup",
  weight: 2,
  alone: true,
  plan: (world, pick) =>
    world.writes === "sqlite" && world.refused.size === 0
      ? { operation: { op: "backup", how: of(pick, ["stopped", "killed", "running"]), writesMs: pick(400) } }
      : null,
  async perform(world, { how, writesMs }, note) {
    if (world.writes !== "sqlite") return false;
    await quiet(world, note);
    await world.rest();
    const copy = copyFile(world.file);
    kept.set(world, world.acknowledged());
    world.continue();
    await sleep(writesMs as number);
    for (const code of LOST) world.suspects.add(code);
    world.remedies.set("SQLITE_REPLACED", async () => {
      await world.stopSidecar("term");
      await world.alone(async () => restoreFile(world.file, copy));
      await startAgainFromSqlite(world);
    });
    if (how !== "running") await world.stopSidecar(how === "stopped" ? "term" : "kill9");
    await world.alone(async () => restoreFile(world.file, copy));
    world.forget(kept.get(world) ?? new Map());
    world.start();
    // A sidecar that ran meanwhile has to notice first.
    if (how === "running") await noticed(world);
    await settle(world, note);
    rmSync(copy);
    world.continue();
    return true;
  },
};

/** The file is away for a moment, or another one stands there; then it is put back. */
const movedKind: Kind = {
  name: "moved",
  weight: 2,
  alone: true,
  plan: (_, pick) => ({
    operation: { op: "moved", put: of(pick, ["nothing", "copy", "empty"]), ms: pick(1500) },
  }),
  async perform(world, { put, ms }, note) {
    for (const code of [
      "SQLITE_REPLACED",
      "SQLITE_MISSING",
      "SPLIT",
      "SQLITE_IO",
      "SQLITE_NOT_A_DATABASE",
      "SQLITE_REWOUND",
    ])
      world.suspects.add(code);
    await world.alone(async () => {
      const away = join(world.file.folder, "away.db");
      const copy = put === "copy" ? copyFile(world.file) : null;
      const ends = ["", "-wal", "-shm", "-journal"];
      const there = ends.filter((end) => existsSync(world.file.path + end));
      for (const end of there) renameSync(world.file.path + end, away + end);
      if (copy) renameSync(copy, world.file.path);
      await sleep(ms as number);
      for (const end of ends) rmSync(world.file.path + end, { force: true });
      for (const end of there) renameSync(away + end, world.file.path + end);
    });
    await settle(world, note);
    world.continue();
    return true;
  },
};

/** Rows of the change log go before they were applied, or the triggers of capture do. */
const tamperKind: Kind = {
  name: "tamper",
  weight: 2,
  alone: true,
  plan: (world, pick) =>
    world.writes === "sqlite" && world.refused.size === 0
      ? { operation: { op: "tamper", how: of(pick, ["log", "triggers", "route-file", "fence"]) } }
      : null,
  async perform(world, { how }, note) {
    if (world.writes !== "sqlite") return false;
    await quiet(world, note);
    switch (how) {
      case "log":
        await tamperWithLog(world);
        break;
      case "triggers":
        dropTriggers(world);
        break;
      case "route-file":
        rmSync(join(world.sidecar.folder, "route.json"), { force: true });
        await world.stopSidecar("term");
        world.start();
        break;
      default:
        await dropFence(world);
    }
    await settle(world, note);
    await quiet(world, note);
    return true;
  },
};

async function tamperWithLog(world: World): Promise<void> {
  for (const code of LOST) world.suspects.add(code);
  await world.stopSidecar("kill9");
  const error = world.sqlite(
    "UPDATE parent SET v = v || '!'; UPDATE kind SET i = 5 WHERE id = 50; DELETE FROM _switchback_log WHERE seq < (SELECT max(seq) FROM _switchback_log)",
  );
  if (error) throw new Wrong(error);
  world.start();
}

function dropTriggers(world: World): void {
  world.suspects.add("CAPTURE_LOST");
  const names = world.connection
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '\\_switchback%' ESCAPE '\\' AND tbl_name = 'parent'",
    )
    .pluck()
    .all() as string[];
  world.connection.transaction(() => {
    for (const name of names) world.connection.exec(`DROP TRIGGER "${name}"`);
    world.connection.exec("UPDATE parent SET v = 'unseen'");
  })();
}

/** Both stores take writes until the sidecar has looked; the prober asks again afterwards. */
async function dropFence(world: World): Promise<void> {
  for (const code of ["FENCE_LOST", "ROWS_DIFFER", "NOT_EQUAL"]) world.suspects.add(code);
  await world.pauseProber();
  const names = await world.ask<{ name: string }>(
    "SELECT tgname AS name FROM pg_trigger WHERE tgrelid = 'parent'::regclass AND tgname LIKE 'switchback%' AND NOT tgisinternal",
  );
  for (const { name } of names) await world.postgres(`DROP TRIGGER ${name} ON parent`);
  await world.sidecar.waitFor("the fence again", () => true);
  for (const until = Date.now() + 20_000; Date.now() < until; ) {
    const again = await world.ask(
      "SELECT FROM pg_trigger WHERE tgrelid = 'parent'::regclass AND tgname LIKE 'switchback%' AND NOT tgisinternal",
    );
    if (again.length === names.length) break;
    await sleep(50);
  }
  await world.resumeProber();
}

/** PostgreSQL is put back to an older moment since the last flip, or to one before it. */
const olderDatabaseKind: Kind = {
  name: "older-database",
  weight: 1,
  alone: true,
  plan: (world, pick) => ({
    operation: { op: "older-database", writesMs: pick(300), store: world.writes },
  }),
  async perform(world, { writesMs, store }, note) {
    if (world.writes !== store) return false;
    await quiet(world, note);
    await dropStanding(world, world.standing);
    await quiet(world, note);
    await world.stopSidecar("term");
    const older = await world.alone(() => world.copyOfDatabase(`_o${Date.now() % 100_000}`));
    world.start();
    world.continue();
    await settle(world, note);
    await sleep(writesMs as number);
    for (const code of ["SPLIT", "LOG_TAMPERED", "CAPTURE_LOST", "SQLITE_REWOUND"]) world.suspects.add(code);
    await quietThen(world, note, older);
    return true;
  },
};

async function quietThen(world: World, note: Parameters<typeof settle>[1], older: string): Promise<void> {
  await settle(world, note);
  await world.rest();
  await world.sidecar.waitDrained(world.writes, 20_000);
  await world.stopSidecar("term");
  await world.pauseProber();
  const newest = await world.alone(async () => {
    const copy = await world.copyOfDatabase(`_n${Date.now() % 100_000}`);
    await world.restoreDatabase(older);
    return copy;
  });
  // The page on backups: put the newer one back, if it still exists.
  world.remedies.set("SPLIT", async () => {
    await world.stopSidecar("kill9");
    await world.alone(() => world.restoreDatabase(newest));
    world.start();
  });
  world.start();
  await settle(world, note);
  world.continue();
}

/** A backup of the file from before, while PostgreSQL has the writes: the file that stood there is put back. */
const awayBackupKind: Kind = {
  name: "away-backup",
  weight: 2,
  alone: true,
  plan: (world, pick) =>
    world.writes === "postgres"
      ? {
          operation: {
            op: "away-backup",
            how: of(pick, ["stopped", "killed", "running"]),
            writesMs: pick(400),
          },
        }
      : null,
  async perform(world, { how, writesMs }, note) {
    if (world.writes !== "postgres") return false;
    await quiet(world, note);
    const copy = copyFile(world.file);
    await sleep(writesMs as number);
    await quiet(world, note);
    await world.rest();
    for (const code of ["SPLIT", "SQLITE_REPLACED", "SQLITE_REWOUND", "COPY_UNKNOWN"])
      world.suspects.add(code);
    const newest = join(world.file.folder, "newest.db");
    const putBack = async () => {
      await world.stopSidecar("kill9");
      await world.alone(async () => restoreFile(world.file, newest));
      world.start();
    };
    for (const code of ["SPLIT", "SQLITE_REPLACED", "SQLITE_REWOUND"]) world.remedies.set(code, putBack);
    if (how !== "running") await world.stopSidecar(how === "stopped" ? "term" : "kill9");
    await world.alone(async () => {
      copyWhole(world.file.path, newest);
      restoreFile(world.file, copy);
    });
    world.start();
    if (how === "running") await noticed(world);
    await settle(world, note);
    world.continue();
    return true;
  },
};

/** Until the sidecar has halted, as it does twice a second unless the backup holds the same. */
async function noticed(world: World): Promise<void> {
  for (const until = Date.now() + NOTICED_MS; Date.now() < until; await sleep(50)) {
    if ((await world.sidecar.status())?.phase === "halted") return;
  }
}

/** With what stands in the log beside it; no one has the file open but a sidecar that reads. */
function copyWhole(path: string, to: string): void {
  const db = new Database(path);
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
  copyFileSync(path, to);
}

/** PostgreSQL as it was before the last two flips: the file continues, and every table is copied again. */
const beforeFlipsKind: Kind = {
  name: "before-flips",
  weight: 1,
  alone: true,
  plan: (world) =>
    world.writes === "sqlite" && world.refused.size === 0 ? { operation: { op: "before-flips" } } : null,
  async perform(world, _, note) {
    if (world.writes !== "sqlite" || world.refused.size > 0) return false;
    await dropStanding(world, world.standing);
    await quiet(world, note);
    await world.stopSidecar("term");
    const older = await world.alone(() => world.copyOfDatabase(`_b${Date.now() % 100_000}`));
    world.start();
    world.continue();
    await move(world, "postgres", note);
    await move(world, "sqlite", note);
    await quiet(world, note);
    await world.rest();
    await world.sidecar.waitDrained("sqlite", 20_000);
    await world.stopSidecar("term");
    let adopted = 0;
    world.suspects.add("SPLIT");
    world.remedies.set("SPLIT", async () => {
      adopted += 1;
      await world.alone(async () => {
        await world.dropCopies();
        const { code, stdout, stderr } = await world.command(["backfill", "--adopt-file"]);
        if (code !== 0) throw new Wrong(`backfill --adopt-file ended with ${code}: ${stdout}${stderr}`);
      });
      world.start();
    });
    // The page on backups: the older server takes writes until a sidecar has looked.
    await world.pauseProber();
    await world.alone(() => world.restoreDatabase(older));
    await world.pauseProber();
    world.start();
    await settle(world, note);
    await world.resumeProber();
    if (adopted === 0) throw new Wrong("a database from before the last flips was taken for the present one");
    world.continue();
    return true;
  },
};

export const swapKinds: readonly Kind[] = [
  backupKind,
  movedKind,
  tamperKind,
  olderDatabaseKind,
  awayBackupKind,
  beforeFlipsKind,
];
