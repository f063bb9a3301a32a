// `backfill`: installs capture, copies history, and exits once the target is exact at a position.

import { counted } from "../findings.js";
import { Sidecar } from "../sidecar/sidecar.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

/** Problems of a table that was left out, or that is not as a fresh copy. */
const NOT_COPIED: ReadonlySet<string> = new Set([
  ...["TARGET_MISMATCH", "TARGET_NOT_EMPTY", "SCHEMA_CHANGED", "POSTGRES_ROW_SECURITY", "BLOCKED"],
]);

export async function backfill(
  context: Context,
  options: { readonly adoptFile?: boolean } = {},
): Promise<ExitCode> {
  const { config, log, progress, signal } = context;
  const started = performance.now();
  const sidecar = new Sidecar(config, requirePostgres(config), log, progress, options.adoptFile);
  try {
    const passedOver = await sidecar.backfill(signal, true);
    signal.throwIfAborted();
    progress.done();
    const status = sidecar.status();
    if (context.json) {
      context.out(JSON.stringify(status));
    } else {
      for (const { name, applied, tables } of status.sources) {
        const rows = tables.reduce((sum, table) => sum + table.copied, 0);
        const seconds = (performance.now() - started) / 1_000;
        const kept = tables.reduce((sum, table) => sum + table.quarantined, 0);
        const but = kept === 0 ? "" : `, but for ${counted(kept, "quarantined row")},`;
        const uncounted = passedOver.get(name) ?? [];
        const exact =
          uncounted.length === 0
            ? `exact${but}`
            : `not counted: ${uncounted.join(", ")} (\`switchback verify\` compares every row)${but}`;
        context.out(
          `${name}: ${counted(tables.length, "table")}, ${counted(rows, "row")} copied; ${exact} at position ${applied} after ${seconds.toFixed(1)} s`,
        );
      }
      for (const problem of status.problems) context.out(`  ! ${problem.message}\n    ${problem.hint}`);
    }
    return status.problems.some(({ code }) => NOT_COPIED.has(code)) ? 4 : 0;
  } finally {
    await sidecar.close();
  }
}
