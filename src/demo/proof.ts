// The demo's observations, the conditions that must hold, and its closing words, all derived from the figures
// alone.
import { acknowledged, type Count, type TillReport } from "./ledger.js";
import type { Balance, Lag } from "./reader.js";

/** One move of the writes. */
export interface Turn {
  readonly epoch: number;
  /** By the sidecar's clock. */
  readonly pauseMs: number;
  /** The longest that any till waited from its last acknowledged write there to its first one here. */
  readonly waitMs: number;
  /** The error that the left store returns to writers; null when it accepted a write. */
  readonly refusal: string | null;
}

interface Followed {
  readonly lag: Lag;
  readonly balance: Balance;
}

export interface Proof {
  readonly history: { readonly rows: number; readonly seconds: number };
  /** PostgreSQL following SQLite. */
  readonly out: Followed;
  readonly cutover: Turn;
  /** SQLite following PostgreSQL. */
  readonly back: Followed;
  readonly revert: Turn;
  /** `verify` while the tills wrote to SQLite, while they wrote to PostgreSQL, and after they stopped. */
  readonly equal: { readonly live: boolean; readonly afterCutover: boolean; readonly atRest: boolean };
  readonly reports: readonly TillReport[];
  /** Each store's receipts at the end, compared with the acknowledged writes. */
  readonly receipts: { readonly sqlite: Count; readonly postgres: Count };
  readonly stoppedCleanly: boolean;
}

/** Ends the demo early, when the next act has no basis. */
export class NotHeld extends Error {
  override readonly name = "NotHeld";
}

export const whole = (number: number) => Math.round(number).toLocaleString("en");

const STORES = [
  ["SQLite", "sqlite"],
  ["PostgreSQL", "postgres"],
] as const;

/** The conditions that did not hold; empty when all of them did. */
export function failuresOf(proof: Proof): string[] {
  const { history, out, back, cutover, revert, equal, reports, receipts, stoppedCleanly } = proof;
  const failures: string[] = [];
  if (history.rows === 0) failures.push("no history was copied");
  for (const [store, { lag, balance }] of [
    ["PostgreSQL", out],
    ["SQLite", back],
  ] as const) {
    if (lag.orders === 0) failures.push(`no change arrived in ${store}`);
    if (balance.states < 2) failures.push(`${store} showed a single state only`);
    if (balance.wrong > 0) failures.push(`${balance.wrong} looks at ${store} found the books out of balance`);
  }
  if (cutover.refusal === null) failures.push("SQLite took a write after the cutover");
  if (revert.refusal === null) failures.push("PostgreSQL took a write after the revert");
  if (!equal.live || !equal.afterCutover || !equal.atRest)
    failures.push("verify says that the stores are not equal");
  const legs = acknowledged(reports);
  if (legs.length !== 3 || legs.some(({ writes }) => writes === 0))
    failures.push("the tills did not write in SQLite, then in PostgreSQL, then in SQLite");
  for (const [name, key] of STORES) {
    const { lost, doubled, unknown } = receipts[key];
    if (lost > 0) failures.push(`acknowledged writes lost in ${name}: ${whole(lost)}`);
    if (doubled > 0) failures.push(`writes doubled in ${name}: ${whole(doubled)}`);
    if (unknown > 0) failures.push(`writes in ${name} that were never acknowledged: ${whole(unknown)}`);
  }
  if (!stoppedCleanly) failures.push("the sidecar did not stop cleanly");
  return failures;
}

/** The demo's last words; `proof` is null when it ended early. */
export function conclude(proof: Proof | null, failures: readonly string[]): string {
  const counts = proof ? `${counted(proof)}\n\n` : "\n";
  if (!proof || failures.length > 0)
    return `${counts}This did not hold:\n${failures.map((failure) => `  - ${failure}`).join("\n")}`;
  const { history, out, back, cutover, revert, receipts } = proof;
  return [
    `${counts}Proved:`,
    `  - history copied while the shop was open, ${whole(history.rows / history.seconds)} rows/s`,
    `  - PostgreSQL followed SQLite (p50 ${out.lag.p50Ms} ms, p99 ${out.lag.p99Ms} ms), then SQLite followed PostgreSQL (p50 ${back.lag.p50Ms} ms, p99 ${back.lag.p99Ms} ms)`,
    `  - ${whole(out.balance.states + back.balance.states)} states seen in the copies, the books of each in balance`,
    `  - writes moved there and back under load: paused for ${cutover.pauseMs.toFixed(1)} ms and ${revert.pauseMs.toFixed(1)} ms, felt as ${cutover.waitMs.toFixed(1)} ms and ${revert.waitMs.toFixed(1)} ms`,
    "  - one store took writes at a time: the other one refused",
    `  - ${whole(receipts.sqlite.found)} acknowledged writes, each found once in both stores`,
    "  - both stores equal, row by row and value by value, while the shop wrote to either and at rest",
  ].join("\n");
}

/** The acknowledged writes beside the receipts in the stores. */
function counted({ reports, receipts }: Proof): string {
  const legs = acknowledged(reports);
  const total = legs.reduce((sum, { writes }) => sum + writes, 0);
  const parts = legs.map(
    ({ store, writes }) => `${whole(writes)} in ${store === "sqlite" ? "SQLite" : "PostgreSQL"}`,
  );
  const lines = STORES.map(([name, key]) => {
    const { found, lost, doubled, unknown } = receipts[key];
    const extra = unknown > 0 ? `, never acknowledged ${whole(unknown)}` : "";
    return `   Found in ${name}: ${whole(found)}; lost ${whole(lost)}, doubled ${whole(doubled)}${extra}.`;
  });
  return [`   Acknowledged to the tills: ${parts.join(", then ")}: ${whole(total)} writes.`, ...lines].join(
    "\n",
  );
}
