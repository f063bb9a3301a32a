// `teardown`: removes everything of switchback's from both stores and keeps the data. While writes go to SQLite
// nothing can be lost by it: PostgreSQL keeps its copy as ordinary tables.
import type { Config } from "../config.js";
import { SwitchbackError } from "../errors.js";
import { connectPostgres } from "../store/postgres/connection.js";
import { Control } from "../store/postgres/control.js";
import { lockTarget } from "../store/postgres/lock.js";
import { readCapture, removeCapture } from "../store/sqlite/capture.js";
import { openSqlite, sqliteError } from "../store/sqlite/connection.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

export async function teardown(context: Context, options: { readonly keep?: string }): Promise<ExitCode> {
  const { config } = context;
  const postgres = requirePostgres(config);
  const lock = await lockTarget(postgres);
  try {
    const client = await connectPostgres(postgres, { name: "switchback teardown" });
    try {
      const control = new Control(client);
      const installed = await control.installed();
      if (installed) await refuseToLose(control, options.keep);
      const files = config.sources.map((source) => removeFrom(source.sqlite, source.name));
      const tables = installed ? await removeFromTarget(control, config) : 0;
      const removed = { sqlite: files.filter(Boolean).length, tables };
      if (context.json) context.out(JSON.stringify(removed));
      else if (!installed && removed.sqlite === 0) context.out("nothing of switchback's was installed");
      else
        context.out(
          `removed from ${removed.sqlite} SQLite ${removed.sqlite === 1 ? "file" : "files"} and ${tables} PostgreSQL tables; all rows stay where they are`,
        );
      return 0;
    } finally {
      await client.end().catch(() => {});
    }
  } finally {
    await lock.release();
  }
}

async function refuseToLose(control: Control, keep: string | undefined): Promise<void> {
  const { writes, epoch } = await control.route();
  if (writes === "sqlite" || keep === "postgres") return;
  throw new SwitchbackError(
    "WOULD_LOSE",
    `writes go to ${writes} (epoch ${epoch}): what was written since would exist in PostgreSQL only`,
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

/** This configuration's sources; the control schema goes with the last source in it. */
async function removeFromTarget(control: Control, config: Config): Promise<number> {
  let tables = 0;
  const mine = config.sources.map(({ name }) => name);
  const others = (await control.sourceNames()).filter((name) => !mine.includes(name));
  await control.transaction(async () => {
    for (const name of mine) {
      for (const table of await control.followed(name)) {
        await control.release(name, table.mapping);
        tables++;
      }
      await control.query("DELETE FROM switchback.source WHERE name = $1", [name]);
    }
    if (others.length === 0) await control.uninstall();
  });
  return tables;
}
