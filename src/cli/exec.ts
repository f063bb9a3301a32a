// `exec`: runs the application's migration while none of our triggers can make it fail, and makes the copy exact again.
// The triggers are taken off in one write transaction. What puts them back is the sidecar's ordinary look at the file,
// or a backfill where no sidecar runs. So a crash at any moment leaves a file that the next look puts right.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import { readHeartbeat } from "../cutover/heartbeat-file.js";
import { assertPairs } from "../cutover/pair.js";
import { SwitchbackError } from "../errors.js";
import { withSession } from "../postgres/connection.js";
import { lockMigration } from "../postgres/migration-lock.js";
import { Records } from "../postgres/records.js";
import { isLocked } from "../postgres/sidecar-lock.js";
import { pause } from "../retry.js";
import { Sidecar } from "../sidecar/sidecar.js";
import { isOurStep, readCapture, schemaVersion } from "../sqlite/capture/install.js";
import { readCaptureOff, takeCaptureOff } from "../sqlite/capture/off.js";
import { openSqlite, sqliteError } from "../sqlite/connection.js";
import { isCurrent } from "../sqlite/migrate.js";
import { durableCommits, withWriteLock } from "../sqlite/transaction.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

/** How long a busy application may keep the triggers from being taken off. */
const LOCK_PATIENCE_MS = 30_000;
/** How long a sidecar may take to put them back, while it builds an index for instance. */
const RETURN_PATIENCE_MS = 60_000;
const LOOK_MS = 50;

export async function exec(
  context: Context,
  options: { readonly operands?: readonly string[] },
): Promise<ExitCode> {
  const { config, log } = context;
  const postgres = requirePostgres(config);
  const { operands: command = [] } = options;
  if (command.length === 0)
    throw new SwitchbackError(
      "USAGE",
      "no command: `switchback exec -- COMMAND` names the migration after --",
    );
  const lock = await lockMigration(postgres);
  let code: number;
  try {
    await takeOff(context, postgres);
    code = await runCommand(context, command);
  } finally {
    await lock.release();
  }
  try {
    await putBack(context, postgres);
  } catch (error) {
    // The migration is done, and its exit code says so; until the triggers are back, no cutover is possible.
    const message = error instanceof Error ? error.message : String(error);
    log.warn(
      { err: error },
      `the triggers are not back: ${message}. Start the sidecar or run \`switchback backfill\``,
    );
  }
  if (context.json) context.out(JSON.stringify({ code, captured: !config.sources.some(isOff) }));
  return code;
}

async function takeOff({ config, log }: Context, postgres: PostgresConfig): Promise<void> {
  const versions = await withSession(postgres, "switchback exec", async (client) => {
    await assertPairs(client, postgres, config.sources);
    const records = new Records(client);
    if (!(await records.installed())) return null;
    const { writes, epoch } = await records.route();
    if (writes !== "sqlite") throw away(epoch);
    const found = new Map<string, number>();
    for (const { name } of config.sources) found.set(name, (await records.source(name))?.version ?? -1);
    return found;
  });
  if (!versions) return log.info("no table is captured yet: the command runs as it is");
  for (const source of config.sources) await takeOffIn(source, versions.get(source.name) ?? -1);
  if (config.sources.some(isOff))
    log.info("triggers are off; the command runs, and PostgreSQL stays as it is");
}

/** `known`: the schema version that the sidecar last looked at. */
async function takeOffIn({ name, sqlite: file }: SourceConfig, known: number): Promise<void> {
  const db = openSqlite(file, { readonly: false });
  try {
    if (!readCapture(db)) return;
    if (!isCurrent(db))
      throw new SwitchbackError("RECORDS_OLDER", `${file}: the records are not those of this program`);
    durableCommits(db);
    await withWriteLock(db, AbortSignal.timeout(LOCK_PATIENCE_MS), () => {
      const route = db
        .prepare(
          "SELECT writes, epoch, EXISTS (SELECT 1 FROM _switchback_fenced) AS closed FROM _switchback_route",
        )
        .get() as { writes: string; epoch: bigint; closed: bigint };
      // Checked under the lock under which a cutover closes the file.
      if (route.closed === 1n || route.writes !== "sqlite") throw away(Number(route.epoch));
      takeCaptureOff(db, isOurStep(db, known, schemaVersion(db)));
    });
  } catch (error) {
    throw sqliteError(error, { source: name, file });
  } finally {
    db.close();
  }
}

function away(epoch: number): SwitchbackError {
  return new SwitchbackError(
    "WRITES_AWAY",
    `SQLite does not have the writes (epoch ${epoch}): run the migration on PostgreSQL, or revert first`,
  );
}

/** The command's exit code; as a shell has it where a signal ended it, or it could not be started. */
function runCommand(
  { json, signal, log }: Context,
  [command = "", ...args]: readonly string[],
): Promise<number> {
  return new Promise((resolve) => {
    // With --json stdout belongs to the document.
    const child = spawn(command, args, { stdio: ["inherit", json ? 2 : "inherit", "inherit"] });
    // The terminal sends its own SIGINT to the command too; a command that was told to stop is waited for.
    const stop = () => child.kill("SIGTERM");
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const done = (code: number) => {
      signal.removeEventListener("abort", stop);
      resolve(code);
    };
    child.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? "there is no such program" : error.message;
      log.error(`${command} could not be started: ${why}`);
      done(error.code === "ENOENT" ? 127 : 126);
    });
    child.once("close", (code, ended) => done(code ?? 128 + (ended === null ? 0 : constants.signals[ended])));
  });
}

/** Waits until the sidecar has put the triggers back, or does what it would do. */
async function putBack(context: Context, postgres: PostgresConfig): Promise<void> {
  const { config } = context;
  const until = performance.now() + RETURN_PATIENCE_MS;
  while (config.sources.some(isOff)) {
    if (!(await withSession(postgres, "switchback exec", isLocked))) await copyAgain(context, postgres);
    const halted = readHeartbeat(config.routeFile)?.halted;
    if (halted) throw new Error(`the sidecar has halted: ${halted.message}`);
    if (performance.now() > until)
      throw new Error(`the sidecar has not put them back within ${RETURN_PATIENCE_MS / 1_000} s`);
    await pause(LOOK_MS);
  }
}

async function copyAgain({ config, log }: Context, postgres: PostgresConfig): Promise<void> {
  const silent = { table() {}, phase() {}, done() {} };
  const sidecar = new Sidecar(config, postgres, log, silent);
  try {
    await sidecar.backfill(new AbortController().signal, false);
  } catch (error) {
    // A sidecar that was started meanwhile does it.
    if (!(error instanceof SwitchbackError && error.code === "TARGET_TAKEN")) throw error;
  } finally {
    await sidecar.close();
  }
}

function isOff({ name, sqlite: file }: SourceConfig): boolean {
  const db = openSqlite(file, { readonly: true });
  try {
    return readCaptureOff(db) !== null;
  } catch (error) {
    throw sqliteError(error, { source: name, file });
  } finally {
    db.close();
  }
}
