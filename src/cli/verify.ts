// `verify`: proves the stores equal at one position while writes continue; with --repair corrects the differences.

import { readHeartbeat } from "../cutover/heartbeat-file.js";
import { haltedError } from "../cutover/request.js";
import { counted } from "../findings.js";
import { describeDifference } from "../postgres/ddl/shape-difference.js";
import { Sidecar } from "../sidecar/sidecar.js";
import { type VerificationResult, verifySource } from "../sidecar/verification.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

/** A comparison must not fail because a writer has the file for a moment, and this process has nothing else to do. */
const PATIENCE_MS = 5_000;

interface VerifyCommandOptions {
  readonly table?: string;
  readonly repair?: boolean;
}

export async function verify(context: Context, options: VerifyCommandOptions): Promise<ExitCode> {
  const { config, signal } = context;
  const postgres = requirePostgres(config);
  const verdicts: VerificationResult[] = [];
  for (const source of config.sources) {
    context.progress.phase(`${source.name}: comparing`);
    const asked = {
      source,
      postgres,
      table: options.table,
      signal,
      patienceMs: PATIENCE_MS,
      catchUp: () => catchUp(context),
      halted: () => {
        const problem = readHeartbeat(config.routeFile)?.halted;
        return problem ? haltedError(problem) : null;
      },
    };
    verdicts.push(await verifySource(asked, options.repair));
  }
  context.progress.done();
  if (context.json) context.out(JSON.stringify(verdictDocument(verdicts)));
  else print(context, verdicts);
  return verdicts.every((verdict) => verdict.equal) ? 0 : 1;
}

/** Applies the logged changes, because no sidecar does. */
async function catchUp({ config, log, signal }: Context): Promise<void> {
  const silent = { table() {}, phase() {}, done() {} };
  const sidecar = new Sidecar(config, requirePostgres(config), log, silent);
  try {
    await sidecar.backfill(signal, false);
  } finally {
    await sidecar.close();
  }
}

/** With one source its verdict is the document; several verdicts stand under the common answer. */
export function verdictDocument(verdicts: readonly VerificationResult[]): unknown {
  const equal = verdicts.every((verdict) => verdict.equal);
  const [first] = verdicts;
  if (verdicts.length === 1 && first) return first;
  return {
    equal,
    position: first?.position ?? 0,
    tables: verdicts.flatMap((verdict) => verdict.tables),
    shape: verdicts.flatMap((verdict) => verdict.shape),
    sources: verdicts,
  };
}

function print(context: Context, verdicts: readonly VerificationResult[]): void {
  for (const { source, equal, writes, position, inFlight, tables, leftOut, shape } of verdicts) {
    const [ours, copy] = writes === "sqlite" ? ["SQLite", "PostgreSQL"] : ["PostgreSQL", "SQLite"];
    const rows = tables.reduce((sum, table) => sum + table.source, 0);
    context.out(
      equal
        ? `${source}: equal at position ${position}: ${counted(tables.length, "table")}, ${counted(rows, "row")}, every value compared`
        : `${source}: NOT equal at position ${position}`,
    );
    if (inFlight > 0) {
      context.out(
        `  ${inFlight} changes were not applied in time to be compared; is the sidecar keeping up? See \`switchback status\`.`,
      );
    }
    for (const table of tables) {
      const { missing, extra, different, quarantined } = table;
      if (missing + extra + different + quarantined === 0) continue;
      context.out(
        `  ${table.name}: ${counted(table.source, "row")} in ${ours}, ${table.target.toLocaleString("en")} in ${copy}: ${missing} missing, ${extra} extra, ${different} different, ${quarantined} quarantined`,
      );
      for (const { kind, key, reason } of table.examples)
        context.out(`    ${kind} ${key}${reason ? `: ${reason}` : ""}`);
    }
    if (leftOut.length > 0) context.out(`  not compared, see \`switchback status\`: ${leftOut.join(", ")}`);
    for (const difference of shape) context.out(`  ${describeDifference(difference)}`);
    if (shape.length > 0)
      context.out(
        "  Restart the sidecar: it gives its tables the shape of a fresh copy. It leaves objects that it did not make: drop them in PostgreSQL, or add them in SQLite.",
      );
    if (inFlight > 0) continue;
    if (tables.some(({ missing, extra, different }) => missing + extra + different > 0))
      context.out("  Run `switchback verify --repair` to correct the rows that differ.");
    if (tables.some(({ quarantined }) => quarantined > 0))
      context.out(
        `  Correct quarantined rows in ${ours}${ours === "SQLite" ? ", or map the column to a wider type" : ""}.`,
      );
  }
}
