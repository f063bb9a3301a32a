// Proposes stronger types than the defaults where every value fits them. Examples: TEXT that always holds
// UUIDs, moments, JSON or 0 and 1; INTEGER that is a flag or an epoch; DECIMAL(p,s) that fits its precision.
// A sample picks the candidate; the whole column proves it. Columns of a foreign key change together or not
// at all.
import type Database from "better-sqlite3";
import { codecFor } from "../codec/registry.js";
import { type Column, columnOf } from "../schema/model.js";
import type { MomentSource } from "../schema/moment-source.js";
import { parseType } from "../schema/pg-types.js";
import type { ColumnDecision, TableDecision } from "./decide.js";
import { type Evidence, evidenceOf } from "./evidence.js";
import { comparable } from "./review.js";
import { booleanPair, epochOf, spellingFor } from "./spelling.js";

export interface Suggestion {
  readonly column: string;
  readonly type: string;
  readonly from?: MomentSource;
  /** The evidence: "all 1,000 values are UUIDs". */
  readonly why: string;
}

/** Suggestions by table. Columns that the configuration names are left alone. */
export function suggestionsFor(
  db: Database.Database,
  decisions: readonly TableDecision[],
): ReadonlyMap<string, readonly Suggestion[]> {
  const all = new Map<string, Suggestion[]>();
  for (const decision of decisions) {
    const evidence = evidenceOf(db, decision.mapping.table);
    const found = decision.columns.flatMap((column) => suggestionFor(decision, column, evidence) ?? []);
    all.set(decision.mapping.table.name, found);
  }
  while (dropUnlike(all, decisions)) {
    // Removing one side of a foreign key may leave the sides of another key with different types.
  }
  return all;
}

interface Candidate {
  readonly type: string;
  readonly from?: MomentSource;
  /** The kind of every value, in the plural. */
  readonly kind: string;
}

function suggestionFor(
  { mapping }: TableDecision,
  decided: ColumnDecision,
  evidence: Evidence,
): Suggestion | null {
  if (decided.configured || decided.generatedAs !== null) return null;
  const column = columnOf(mapping.table, decided.column);
  if (mapping.table.integerPrimaryKey === column.name) return null;
  const candidate = candidateFor(column, decided, evidence);
  if (!candidate) return null;
  const { type, from, kind } = candidate;
  const spelling = spellingFor(parseType(type)?.name ?? "", evidence.sample(column.name), from);
  const codec = codecFor({
    ...decided.spec,
    type,
    ...(from === undefined ? {} : { from }),
    ...(spelling === undefined ? {} : { spelling }),
  });
  if (evidence.refutation(column.name, codec) !== null) return null;
  const { integer, real, text, blob } = evidence.classes(column.name);
  const count = (integer + real + text + blob).toLocaleString("en-US");
  return {
    column: column.name,
    type,
    ...(from === undefined ? {} : { from }),
    why: `all ${count} values are ${kind}`,
  };
}

function candidateFor(column: Column, decided: ColumnDecision, evidence: Evidence): Candidate | null {
  const sample = evidence.sample(column.name);
  if (sample.length === 0) return null;
  const name = parseType(decided.spec.type)?.name;
  if (name === "any") return oneClass(column, evidence);
  if (name === "text" || name === "varchar") {
    return sample.every((value) => typeof value === "string") ? textCandidate(sample as string[]) : null;
  }
  if (name === "numeric") return numericCandidate(column);
  return name === "bigint" ? integerCandidate(column, evidence) : null;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function textCandidate(sample: readonly string[]): Candidate | null {
  if (sample.every((text) => UUID.test(text))) return { type: "uuid", kind: "UUIDs" };
  const pair = booleanPair(sample);
  // A single word may mean anything; both words of a pair are a flag.
  if (pair && new Set(sample).size === 2) return { type: "boolean", kind: `one of ${pair}` };
  const spelling = spellingFor("timestamptz", sample);
  if (spelling !== undefined) {
    const dates = sample.filter((text) => text.length === 10).length;
    if (dates === sample.length) return { type: "date", kind: "dates" };
    return dates === 0 ? { type: "timestamptz", kind: `moments like ${spelling}` } : null;
  }
  return sample.every((text) => /^\s*[{[]/.test(text)) ? { type: "jsonb", kind: "JSON" } : null;
}

function numericCandidate(column: Column): Candidate | null {
  const match = /\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)/.exec(column.declaredType);
  const type = match ? parseType(`numeric(${match[1]},${match[2] ?? 0})`)?.type : undefined;
  return type === undefined ? null : { type, kind: `within ${type}` };
}

const MOMENT_NAME = /(_at|_on|At|On|_ts|time|date|stamp|created|updated|modified|expires|Time|Date|Stamp)$/;

function integerCandidate(column: Column, evidence: Evidence): Candidate | null {
  const values = new Set(evidence.sample(column.name));
  if (values.size === 2 && values.has(0n) && values.has(1n)) return { type: "boolean", kind: "0 or 1" };
  const bounds = MOMENT_NAME.test(column.name) ? evidence.numbers(column.name) : null;
  const from = bounds && epochOf(bounds);
  return from
    ? { type: "timestamptz", from, kind: `Unix times in ${from === "unix" ? "seconds" : "milliseconds"}` }
    : null;
}

function oneClass(column: Column, evidence: Evidence): Candidate | null {
  const { integer, real, text, blob } = evidence.classes(column.name);
  const total = integer + real + text + blob;
  if (integer === total) return { type: "bigint", kind: "integers" };
  if (real === total) return { type: "double precision", kind: "reals" };
  if (text === total) return { type: "text", kind: "text" };
  return blob === total ? { type: "bytea", kind: "blobs" } : null;
}

/** Removes suggestions that would give a foreign key's sides different types; true when it removed some. */
function dropUnlike(all: Map<string, Suggestion[]>, decisions: readonly TableDecision[]): boolean {
  let dropped = false;
  const typeOf = (table: string, column: string): string | undefined => {
    const decision = decisions.find(({ mapping }) => same(mapping.table.name, table));
    const suggested = all.get(decision?.mapping.table.name ?? "")?.find((s) => same(s.column, column));
    const type = suggested?.type ?? decision?.columns.find((c) => same(c.column, column))?.spec.type;
    return type === undefined ? undefined : parseType(type)?.name;
  };
  const drop = (table: string, column: string) => {
    for (const [name, suggestions] of all) {
      const kept = same(name, table) ? suggestions.filter((s) => !same(s.column, column)) : suggestions;
      dropped ||= kept.length < suggestions.length;
      all.set(name, kept);
    }
  };
  for (const { mapping } of decisions) {
    for (const { columns, parent, parentColumns } of mapping.table.foreignKeys) {
      columns.forEach((column, i) => {
        const child = typeOf(mapping.table.name, column);
        const parentType = typeOf(parent, parentColumns[i] ?? "");
        if (child === undefined || parentType === undefined || comparable(child, parentType)) return;
        drop(mapping.table.name, column);
        drop(parent, parentColumns[i] ?? "");
      });
    }
  }
  return dropped;
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
