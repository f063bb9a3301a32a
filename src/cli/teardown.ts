// `teardown`: removes everything that switchback installed from both stores and keeps the data. While writes go to
// SQLite it loses nothing: PostgreSQL keeps its copy as ordinary tables. While writes go to PostgreSQL it ends the
// possibility to revert, and requires `--keep postgres`.
import type { Config } from "../config/config.js";
import { assertPairs } from "../cutover/pair.js";
import { SwitchbackError } from "../errors.js";
import { counted } from "../findings.js";
import { withSession } from "../postgres/connection.js";
import { validateForeignKeys } from "../postgres/ddl/validate-foreign-keys.js";
import { type FollowedTable, Records } from "../postgres/records.js";
import { lockTarget } from "../postgres/sidecar-lock.js";
import { readCapture, removeCapture } from "../sqlite/capture/install.js";
import { openSqlite, sqliteError } from "../sqlite/connection.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

export async function teardown(context: Context, options: { readonly keep?: string }): Promise<ExitCode> {
  const { config } = context;
  const postgres = requirePostgres(config);
  const lock = await lockTarget(postgres);
  try {
    return await withSession(postgres, "switchback teardown", async (client): Promise<ExitCode> => {
      const records = new Records(client);
      await assertPairs(client, postgres, config.sources);
      const installed = (await records.recordsVersion()) > 0;
      if (installed) await records.install();
      const keepsPostgres = installed && (await refuseToLose(records, options.keep));
      const followed = installed ? await followedBy(records, config) : [];
      const files = config.sources.map((source) => removeFrom(source.sqlite, source.name));
      const tables = installed ? await removeFromTarget(records, config, keepsPostgres) : 0;
      // The work on foreign keys that the sidecar does in the background after a cutover.
      await validateForeignKeys(postgres, followed, context.log, context.signal);
      const removed = { sqlite: files.filter(Boolean).length, tables };
      if (context.json) context.out(JSON.stringify(removed));
      else if (!installed && removed.sqlite === 0) context.out("switchback was not installed");
      else
        context.out(
          `removed from ${counted(removed.sqlite, "SQLite file")} and ${counted(tables, "PostgreSQL table")}; all rows stay where they are` +
            (keepsPostgres
              ? "\nA revert is no longer possible: the SQLite file is no longer kept up to date, and no longer refuses writes. Let no application open it."
              : ""),
        );
      return 0;
    });
  } finally {
    await lock.release();
  }
}

/** True when PostgreSQL has the writes and keeps them for good. */
async function refuseToLose(records: Records, keep: string | undefined): Promise<boolean> {
  const { writes, epoch } = await records.route();
  if (writes === "paused") {
    throw new SwitchbackError(
      "WOULD_LOSE",
      `a revert is in progress or was interrupted (epoch ${epoch}): \`switchback run\` completes it or retreats`,
    );
  }
  if (writes === "sqlite" && keep !== "postgres") return false;
  if (writes === "postgres" && keep === "postgres") return true;
  throw new SwitchbackError(
    "WOULD_LOSE",
    writes === "postgres"
      ? `PostgreSQL has the writes (epoch ${epoch}): without switchback there is no revert, and SQLite stays as it is now`
      : "SQLite has the writes: PostgreSQL is only a copy, and would miss the next write",
  );
}

/** One file; true when switchback was installed in it. */
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

async function followedBy(records: Records, config: Config): Promise<FollowedTable[]> {
  const tables: FollowedTable[] = [];
  for (const { name } of config.sources) tables.push(...(await records.followed(name)));
  return tables;
}

/** This configuration's sources; the control schema is dropped with the last source in it. */
async function removeFromTarget(records: Records, config: Config, keepsPostgres: boolean): Promise<number> {
  let tables = 0;
  const mine = config.sources.map(({ name }) => name);
  const others = (await records.sourceNames()).filter((name) => !mine.includes(name));
  await records.transaction(async () => {
    for (const name of mine) {
      for (const table of await records.followed(name)) {
        await records.release(name, table, keepsPostgres);
        tables++;
      }
      await records.query("DELETE FROM switchback.source WHERE name = $1", [name]);
    }
    if (others.length === 0) await records.uninstall();
  });
  return tables;
}
