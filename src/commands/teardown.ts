// `teardown`: removes everything of switchback's from both stores and keeps the data. While writes go to SQLite
// nothing can be lost by it: PostgreSQL keeps its copy as ordinary tables. While they go to PostgreSQL it gives up
// the way back, and asks to be told that this is meant.
import type { Config } from "../config.js";
import { SwitchbackError } from "../errors.js";
import { assertPairs } from "../pair.js";
import { connectPostgres } from "../store/postgres/connection.js";
import { Control, type FollowedTable } from "../store/postgres/control.js";
import { lockTarget } from "../store/postgres/lock.js";
import { validateForeignKeys } from "../store/postgres/validate.js";
import { readCapture, removeCapture } from "../store/sqlite/capture.js";
import { openSqlite, sqliteError } from "../store/sqlite/connection.js";
import { type Context, counted, type ExitCode, requirePostgres } from "./command.js";

export async function teardown(context: Context, options: { readonly keep?: string }): Promise<ExitCode> {
  const { config } = context;
  const postgres = requirePostgres(config);
  const lock = await lockTarget(postgres);
  try {
    const client = await connectPostgres(postgres, { name: "switchback teardown" });
    try {
      const control = new Control(client);
      await assertPairs(client, postgres, config.sources);
      const installed = (await control.recordsVersion()) > 0;
      if (installed) await control.install();
      const away = installed && (await refuseToLose(control, options.keep));
      const files = config.sources.map((source) => removeFrom(source.sqlite, source.name));
      // What the background would still have done for the foreign keys.
      if (away)
        await validateForeignKeys(postgres, await followedBy(control, config), context.log, context.signal);
      const tables = installed ? await removeFromTarget(control, config, away) : 0;
      const removed = { sqlite: files.filter(Boolean).length, tables };
      if (context.json) context.out(JSON.stringify(removed));
      else if (!installed && removed.sqlite === 0) context.out("nothing of switchback's was installed");
      else
        context.out(
          `removed from ${counted(removed.sqlite, "SQLite file")} and ${counted(tables, "PostgreSQL table")}; all rows stay where they are` +
            (away
              ? "\nThe way back is given up: the SQLite file is no longer kept up to date, and no longer refuses writes. Let no application open it."
              : ""),
        );
      return 0;
    } finally {
      await client.end().catch(() => {});
    }
  } finally {
    await lock.release();
  }
}

/** True when PostgreSQL has the writes, and they may be left there for good. */
async function refuseToLose(control: Control, keep: string | undefined): Promise<boolean> {
  const { writes, epoch } = await control.route();
  if (writes === "paused") {
    throw new SwitchbackError(
      "WOULD_LOSE",
      `a revert is under way or was cut short (epoch ${epoch}): \`switchback run\` finishes it or takes it back`,
    );
  }
  if (writes === "sqlite" && keep !== "postgres") return false;
  if (writes === "postgres" && keep === "postgres") return true;
  throw new SwitchbackError(
    "WOULD_LOSE",
    writes === "postgres"
      ? `PostgreSQL has the writes (epoch ${epoch}): without switchback there is no way back, and SQLite stays as it is now`
      : "SQLite has the writes: PostgreSQL is only a copy, and would fall behind with the next of them",
  );
}

/** One file; true when something was there. */
function removeFrom(file: string, source: string): boolean {
  const db = openSqlite(file, { readonly: false });
  try {
    const installed = readCapture(db) !== null;
    if (installed) removeCapture(db);
    return installed;
  } catch (error) {
    throw sqliteError(error, { source, file });
  } finally {
    db.close();
  }
}

async function followedBy(control: Control, config: Config): Promise<FollowedTable[]> {
  const tables: FollowedTable[] = [];
  for (const { name } of config.sources) tables.push(...(await control.followed(name)));
  return tables;
}

/** This configuration's sources; the control schema goes with the last source in it. */
async function removeFromTarget(control: Control, config: Config, away: boolean): Promise<number> {
  let tables = 0;
  const mine = config.sources.map(({ name }) => name);
  const others = (await control.sourceNames()).filter((name) => !mine.includes(name));
  await control.transaction(async () => {
    for (const name of mine) {
      for (const table of await control.followed(name)) {
        await control.release(name, table, away);
        tables++;
      }
      await control.query("DELETE FROM switchback.source WHERE name = $1", [name]);
    }
    if (others.length === 0) await control.uninstall();
  });
  return tables;
}
