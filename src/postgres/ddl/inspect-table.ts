// Checks one existing table against the mapping. A table that switchback would have created must be identical. A
// table of the application's migrations must be able to hold every value and identify every row. Pure: inspect.ts has
// read the catalogue.
import type { Finding } from "../../findings.js";
import type { ColumnMapping } from "../../mapping/mapping.js";
import { parseType } from "../../schema/pg-types.js";
import type { TargetColumn, TargetTable } from "./tables.js";

/** A finding without its source and table. */
export type TableFinding = Omit<Finding, "source" | "table">;

export interface ExistingColumn {
  readonly name: string;
  /** As format_type prints it. */
  readonly type: string;
  readonly not_null: boolean;
  readonly has_default: boolean;
  /** '' · a: always · d: by default. */
  readonly identity: string;
  /** '' · s: stored · v: virtual. */
  readonly generated: string;
  /** True for a collation by which different texts may be equal. */
  readonly loose: boolean;
  /** Its position in the primary key, from 1; 0 outside it. */
  readonly key_place: number;
}

export interface Existing {
  /** pg_class.relkind. */
  readonly kind: string;
  readonly owned: boolean;
  /** How row-level security affects the connected role, in words; null where it does not apply. */
  readonly rowSecurity: string | null;
  /** Rules on INSERT, UPDATE and DELETE. */
  readonly rules: readonly string[];
  readonly columns: readonly ExistingColumn[];
  readonly triggers: readonly string[];
  readonly foreignKeys: readonly string[];
}

const MISMATCH_REMEDY =
  "Drop or rename the existing table, correct the mapping, or use `target: adopt` for tables that your migrations made.";

/** For `create`: the table must be as CREATE TABLE would make it. */
export function matches(table: TargetTable, existing: Existing): TableFinding[] {
  const wrong = wrongKind(existing);
  if (wrong) return [wrong];
  const answers: TableFinding[] = [];
  const mismatch = (column: string, message: string): void => {
    answers.push({ severity: "blocker", code: "target-mismatch", column, message, remedy: MISMATCH_REMEDY });
  };
  for (const want of table.columns) {
    const have = existing.columns.find((column) => column.name === want.name);
    if (!have) mismatch(want.name, `have no column ${want.name}, want ${describe(want)}`);
    else if (!sameColumn(have, want))
      mismatch(want.name, `have ${describeHave(have)}, want ${describe(want)}`);
  }
  for (const have of existing.columns) {
    const isWanted = table.columns.some((column) => column.name === have.name);
    if (!isWanted) mismatch(have.name, `have ${describeHave(have)}, want no column ${have.name}`);
  }
  const primary = keyColumns(existing);
  const wanted = table.mapping.key.map((column) => column.target);
  if (primary.length > 0 && !sameSet(primary, wanted)) {
    mismatch(primary.join(", "), `have the primary key (${primary.join(", ")}), want (${wanted.join(", ")})`);
  }
  return [...answers, ...ownership(existing)];
}

/** For `adopt`: the table is the application's; it must hold what SQLite holds. */
export function adopt(table: TargetTable, existing: Existing): TableFinding[] {
  const wrong = wrongKind(existing);
  if (wrong) return [wrong];
  return [
    ...table.mapping.columns.flatMap((column) => adoptColumn(existing, column)),
    ...extraColumns(table, existing),
    ...adoptKey(table, existing),
    ...ownership(existing),
    ...notes(existing),
  ];
}

function adoptColumn(
  existing: Existing,
  { target: name, codec: { type }, notNull }: ColumnMapping,
): TableFinding[] {
  const have = existing.columns.find((column) => column.name === name);
  const blocker = (message: string, remedy: string): TableFinding => ({
    severity: "blocker",
    code: "target-mismatch",
    column: name,
    message,
    remedy,
  });
  if (!have) {
    return [
      blocker(
        `have no column ${name}, want ${type}`,
        "Add the column in a migration, or name its counterpart in the configuration.",
      ),
    ];
  }
  const answers: TableFinding[] = [];
  if (have.generated !== "") {
    answers.push(
      blocker(
        `PostgreSQL computes ${name} by itself, so SQLite's value cannot be written`,
        "Make it an ordinary column until the migration is complete, or rename the mapping's target column.",
      ),
    );
  }
  if (!canHold(have.type, type)) {
    answers.push(
      blocker(
        `PostgreSQL's column is ${canonical(have.type)}, the mapping says ${type}`,
        typeRemedy(have.type, type),
      ),
    );
  }
  if (have.not_null && !notNull && have.key_place === 0) {
    answers.push({
      severity: "warning",
      code: "target-not-null",
      column: name,
      message: `${name} is NOT NULL in PostgreSQL and not in SQLite: rows with NULL in it cannot follow`,
      remedy:
        "Drop the NOT NULL, or see to it that SQLite has no such rows: they are quarantined and block the cutover.",
    });
  }
  if (have.identity === "a") {
    answers.push({
      severity: "note",
      code: "identity-always",
      column: name,
      message: `${name} is GENERATED ALWAYS AS IDENTITY: the copy overrides it, and its sequence is set at the cutover`,
      remedy: "Nothing to do.",
    });
  }
  return answers;
}

/**
 * Whether every text that a codec for `want` writes is read by a `have` column and printed again unchanged. That
 * holds for an integer in a wider numeric. It does not hold for a bigint in an integer column, although most values
 * would fit.
 */
export function canHold(have: string, want: string): boolean {
  const [h, w] = [parseType(have), parseType(want)];
  if (!h || !w) return have === want;
  if (h.type === w.type) return true;
  const textual = (name: string): boolean => name === "text" || name === "varchar";
  if (textual(h.name) && textual(w.name)) return (h.args[0] ?? Infinity) >= (w.args[0] ?? Infinity);
  const width: Readonly<Record<string, number>> = { smallint: 2, integer: 4, bigint: 8 };
  const [wideHave, wideWant] = [width[h.name], width[w.name]];
  if (wideWant !== undefined) return wideHave !== undefined ? wideHave >= wideWant : h.type === "numeric";
  return w.name === "numeric" && h.type === "numeric";
}

/** Columns that the mapping does not fill. */
function extraColumns(table: TargetTable, existing: Existing): TableFinding[] {
  return existing.columns.flatMap((have): TableFinding[] => {
    const mapped = table.mapping.columns.some((column) => column.target === have.name);
    if (mapped || !have.not_null || have.has_default || have.identity !== "" || have.generated !== "")
      return [];
    return [
      {
        severity: "blocker",
        code: "target-extra-column",
        column: have.name,
        message: `${have.name} is NOT NULL without a default, and SQLite has no such column`,
        remedy: "Give the column a default, or drop its NOT NULL until the migration is complete.",
      },
    ];
  });
}

function adoptKey(table: TargetTable, existing: Existing): TableFinding[] {
  const have = keyColumns(existing);
  const want = table.mapping.key.map((column) => column.target);
  const loose = existing.columns.filter((column) => column.loose && want.includes(column.name));
  const answers: TableFinding[] = loose.map((column) => ({
    severity: "blocker",
    code: "target-loose-key",
    column: column.name,
    message: `${column.name} has a nondeterministic collation: keys that are different in SQLite would be equal`,
    remedy: "Give the column a deterministic collation.",
  }));
  if (sameSet(have, want)) return answers;
  const wider = existing.kind === "p" && want.every((column) => have.includes(column));
  const reason = wider
    ? `the table is partitioned and its primary key (${have.join(", ")}) is wider than (${want.join(", ")}), so PostgreSQL could hold a row twice`
    : have.length === 0
      ? `have no primary key, want (${want.join(", ")})`
      : `have the primary key (${have.join(", ")}), want (${want.join(", ")})`;
  const remedy = wider
    ? "Use an unpartitioned table until the cutover, or make the partitioning column part of SQLite's primary key."
    : "Give the table that primary key in a migration.";
  return [...answers, { severity: "blocker", code: "target-key", message: reason, remedy }];
}

function wrongKind(existing: Existing): TableFinding | null {
  if (existing.kind === "r" || existing.kind === "p") return null;
  return {
    severity: "blocker",
    code: "target-mismatch",
    message: "a view, an index or a sequence has the table's name",
    remedy: "Rename or drop it, or give the table another name in the configuration.",
  };
}

function ownership(existing: Existing): TableFinding[] {
  const answers: TableFinding[] = [];
  if (!existing.owned) {
    answers.push({
      severity: "blocker",
      code: "target-owner",
      message: "the role does not own the table, which indexes, triggers and constraints need",
      remedy: "Make the role the table's owner, or a member of the role that owns it.",
    });
  }
  if (existing.rules.length > 0) {
    answers.push({
      severity: "blocker",
      code: "target-rules",
      message: `the table has rules that rewrite what is written to it: ${existing.rules.join(", ")}`,
      remedy:
        "Drop them, and create them again after the cutover, or write triggers instead: they stay disabled until then.",
    });
  }
  if (existing.rowSecurity !== null) {
    answers.push({
      severity: "blocker",
      code: "target-row-security",
      message: existing.rowSecurity,
      remedy:
        "Run ALTER TABLE … NO FORCE ROW LEVEL SECURITY as the table's owner, or use a role with BYPASSRLS. The policies may stay for the application's roles.",
    });
  }
  return answers;
}

function notes(existing: Existing): TableFinding[] {
  const answers: TableFinding[] = [];
  if (existing.triggers.length > 0) {
    answers.push({
      severity: "note",
      code: "target-triggers",
      message: `the table's own triggers (${existing.triggers.join(", ")}) are disabled while SQLite has the writes`,
      remedy: "Nothing to do: the cutover enables them.",
    });
  }
  if (existing.foreignKeys.length > 0) {
    answers.push({
      severity: "note",
      code: "target-foreign-keys",
      message: `foreign keys on or to the table (${existing.foreignKeys.join(", ")}) are dropped while SQLite has the writes`,
      remedy: "Nothing to do: the cutover restores them.",
    });
  }
  return answers;
}

function sameColumn(have: ExistingColumn, want: TargetColumn): boolean {
  const sameNull = have.not_null === want.notNull || have.key_place > 0;
  return (
    canonical(have.type) === canonical(want.type) &&
    (have.generated !== "") === (want.generated !== null) &&
    sameNull
  );
}

/** A type of the application's own, such as an enum, is none that a column can be mapped to. */
function typeRemedy(have: string, want: string): string {
  const name = canonical(have);
  if (parseType(name) === null) return `Alter the column to ${want}.`;
  const quoted = name.includes(",") ? `"${name}"` : name;
  return `Map the column to { type: ${quoted} } in the configuration where its values allow that, or alter the column to ${want}.`;
}

function canonical(type: string): string {
  return parseType(type)?.type ?? type;
}

function describe(column: TargetColumn): string {
  return `${canonical(column.type)}${column.notNull ? " NOT NULL" : ""}${column.generated === null ? "" : ", computed"}`;
}

function describeHave(column: ExistingColumn): string {
  return `${canonical(column.type)}${column.not_null ? " NOT NULL" : ""}${column.generated === "" ? "" : ", computed"}`;
}

function keyColumns(existing: Existing): string[] {
  return existing.columns
    .filter((column) => column.key_place > 0)
    .sort((a, b) => a.key_place - b.key_place)
    .map((column) => column.name);
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item) => b.includes(item));
}
