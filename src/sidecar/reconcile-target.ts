// Which of the mapped tables fit what stands in PostgreSQL. At the first start every obstacle is the operator's to
// remove. Later a table that does not fit is left out, with a problem of its own, and all others continue.
import type { ErrorCode } from "../errors.js";
import { SwitchbackError } from "../errors.js";
import type { Finding } from "../findings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { inspectTarget } from "../postgres/ddl/inspect.js";
import { buildTargetSchema, type TargetTable } from "../postgres/ddl/tables.js";
import type { FollowedTable } from "../postgres/records.js";
import { problem } from "../problem.js";
import type { Oddity } from "../schema/model.js";
import type { Problem } from "../status.js";
import type { Sides } from "./reconcile.js";
import { lookAtShapes, type Shapes } from "./reconcile-tables.js";
import type { StillUnfit } from "./unsettled-tables.js";

interface Known {
  readonly known: ReadonlyMap<string, FollowedTable>;
  readonly settled: ReadonlyMap<string, TableMapping>;
  /** True when nothing was ever copied from this source. */
  readonly first: boolean;
}

interface Fitting {
  readonly mappings: readonly TableMapping[];
  readonly tables: readonly TargetTable[];
  readonly oddities: readonly Oddity[];
  readonly shapes: Shapes;
  /** New to the target. */
  readonly arriving: readonly TargetTable[];
  /** Followed already, and mapped again. */
  readonly changed: readonly TargetTable[];
  /** What stands there for the arriving ones. */
  readonly states: ReadonlyMap<string, string>;
  /** Left out. */
  readonly unfit: ReadonlySet<string>;
  readonly problems: readonly Problem[];
  /** Whether they still do not fit; null when none was left out. */
  readonly stillUnfit: StillUnfit | null;
}

/** @throws SwitchbackError for what concerns no single table, and at first for everything */
export async function fittingTables(
  sides: Sides,
  all: readonly TableMapping[],
  present: Known,
): Promise<Fitting> {
  const unfit = new Map<string, readonly Finding[]>();
  for (;;) {
    const mappings = all.filter(({ table }) => !unfit.has(table.name));
    const found = await inspect(sides, mappings, present);
    const blocked = blockersByTable(found.findings);
    if (blocked.size > 0 && (present.first || blocked.has("")))
      refuseBlockers(found.findings, sides.config.name);
    if (blocked.size > 0) {
      for (const [name, findings] of blocked) unfit.set(name, findings);
      continue;
    }
    const key = text(unfit);
    const names = new Set(unfit.keys());
    const stillUnfit: StillUnfit = async () =>
      text(blockersByTable((await inspect(sides, all, present, names)).findings)) === key;
    const problems = [...unfit].map(([name, findings]) => problemOf(sides, name, findings, present));
    return {
      ...found,
      mappings,
      unfit: new Set(unfit.keys()),
      problems,
      stillUnfit: unfit.size > 0 ? stillUnfit : null,
    };
  }
}

async function inspect(
  sides: Sides,
  mappings: readonly TableMapping[],
  { known, settled }: Known,
  only: ReadonlySet<string> | null = null,
) {
  const { config, client } = sides;
  const { tables, oddities } = buildTargetSchema(mappings);
  const shapes = await lookAtShapes(sides, tables, oddities, known);
  const asked = tables.filter(({ mapping }) => only === null || only.has(mapping.table.name));
  const arriving = asked.filter(({ mapping }) => !known.has(mapping.table.name));
  const changed = asked.filter(
    ({ mapping }) => known.has(mapping.table.name) && !settled.has(mapping.table.name),
  );
  const arrived =
    arriving.length === 0
      ? { findings: [], tables: new Map<string, string>() }
      : await inspectTarget(client, arriving, config.target, config.name, shapes.leaving);
  const standing =
    config.target === "adopt" && changed.length > 0
      ? (await inspectTarget(client, changed, "adopt", config.name)).findings
      : [];
  // These are full of our own copy, of course.
  const findings = [...arrived.findings, ...standing.filter(({ code }) => code !== "target-not-empty")];
  return { tables, oddities, shapes, arriving, changed, states: arrived.tables, findings };
}

/** What does not fit, by the SQLite table's name; what concerns no single table stands under the empty name. */
function blockersByTable(findings: readonly Finding[]): Map<string, Finding[]> {
  const blocked = new Map<string, Finding[]>();
  for (const finding of findings) {
    if (finding.severity !== "blocker") continue;
    const table = finding.table ?? "";
    blocked.set(table, [...(blocked.get(table) ?? []), finding]);
  }
  return blocked;
}

function text(blocked: ReadonlyMap<string, readonly Finding[]>): string {
  return JSON.stringify([...blocked].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function problemOf(
  { config }: Sides,
  table: string,
  findings: readonly Finding[],
  { known }: Known,
): Problem {
  const messages = [...new Set(findings.map(({ message }) => message))].join("; ");
  if (known.has(table)) {
    const message = `the table changed in SQLite, and its target does not fit: ${messages}`;
    return problem("SCHEMA_CHANGED", message, { source: config.name, table });
  }
  const code = codeOf(findings[0]);
  return problem(code, `${table} is not copied: ${messages}`, { source: config.name, table });
}

const BLOCKER_CODES: Readonly<Record<string, ErrorCode>> = {
  "target-not-empty": "TARGET_NOT_EMPTY",
  "postgres-rights": "POSTGRES_RIGHTS",
  "postgres-version": "POSTGRES_VERSION",
  "target-row-security": "POSTGRES_ROW_SECURITY",
};

function codeOf(finding: Finding | undefined): ErrorCode {
  if (!finding) return "BLOCKED";
  const isTarget = finding.code.startsWith("target-") || finding.code.startsWith("postgres-");
  return BLOCKER_CODES[finding.code] ?? (isTarget ? "TARGET_MISMATCH" : "BLOCKED");
}

/** All blockers in one error: the first decides its code, every one is a line. */
export function refuseBlockers(findings: readonly Finding[], source: string): void {
  const blockers = findings.filter((finding) => finding.severity === "blocker");
  const first = blockers[0];
  if (!first) return;
  const lines = blockers.map(({ table, column, message }) => {
    const place = [table, column].filter((part) => part !== undefined).join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  throw new SwitchbackError(codeOf(first), [...new Set(lines)].join("; "), {
    source,
    ...(first.table === undefined ? {} : { table: first.table }),
  });
}
