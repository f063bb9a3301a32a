// Findings that an operator must know before trusting a decided mapping. These are keys that PostgreSQL
// cannot have, declarations that the data contradicts, and foreign keys between different types. It reads no
// data.
import type { Finding } from "../findings.js";
import type { ForeignKey } from "../schema/model.js";
import { columnOf } from "../schema/model.js";
import type { TableDecision } from "./decide.js";
import type { Choice } from "./default-type.js";
import { ROWID_COLUMN, type TableMapping } from "./mapping.js";

/** PostgreSQL's own limit; a row's width limits it further. */
const COLUMNS_MAX = 1_600;

export function mappingFindings(
  { mapping, columns }: TableDecision,
  doubts: readonly { readonly column: string; readonly choice: Choice }[],
  source: string,
): Finding[] {
  const { table } = mapping;
  const at = { source, table: table.name };
  const findings: Finding[] = doubts.map(({ column, choice }) => ({
    ...at,
    severity: "warning",
    code: "declared-type-refuted",
    column,
    message: `becomes ${choice.type}: ${choice.why}`,
    remedy: "Correct the values, or fix the column's type in the configuration.",
  }));
  for (const { column, generatedAs } of columns) {
    if (generatedAs !== null || columnOf(table, column).generated === "no") continue;
    findings.push({
      ...at,
      severity: "warning",
      code: "generated-column-copied",
      column,
      message: `is a generated column that PostgreSQL cannot compute; it becomes an ordinary one with SQLite's values`,
      remedy: "Compute it in the application, or add a trigger, before writes go to PostgreSQL.",
    });
  }
  for (const { column, target } of columns) {
    if (column !== ROWID_COLUMN || target === ROWID_COLUMN) continue;
    findings.push({
      ...at,
      severity: "warning",
      code: "column-renamed",
      column,
      message: `becomes ${target}: the table has no usable key, and its rows are followed by the rowid, which is kept in ${ROWID_COLUMN}`,
      remedy: "Choose another name with `name` in the configuration, or give the table a PRIMARY KEY.",
    });
  }
  if (mapping.columns.length > COLUMNS_MAX) {
    findings.push({
      ...at,
      severity: "blocker",
      code: "too-many-columns",
      message: `has ${mapping.columns.length} columns, and PostgreSQL's tables have at most ${COLUMNS_MAX}`,
      remedy: "Exclude the table, or split it.",
    });
  }
  return [...findings, ...keyFindings(mapping, source)];
}

/** Columns for which several of an adopted table could stand. */
export function ambiguousFindings(
  { table, target }: TableMapping,
  columns: readonly (readonly [string, readonly { readonly name: string }[]])[],
  source: string,
): Finding[] {
  return columns.map(([column, found]) => ({
    severity: "blocker",
    code: "target-ambiguous",
    source,
    table: table.name,
    column,
    message: `could be ${found.map(({ name }) => name).join(" or ")} of ${target} in PostgreSQL`,
    remedy: `Name its counterpart in the configuration: columns: { ${column}: { name: ${found[0]?.name} } }.`,
  }));
}

function keyFindings(mapping: TableMapping, source: string): Finding[] {
  const { table } = mapping;
  const wanted = table.key.kind === "columns" ? table.key.columns : [];
  const missing = wanted.filter((name) => !mapping.key.some((column) => column.column === name));
  const unordered = mapping.key.filter((column) => column.codec.name === "json");
  return [
    ...missing.map(
      (column): Finding => ({
        severity: "blocker",
        code: "key-not-copied",
        source,
        table: table.name,
        column,
        message: "is part of the key, but PostgreSQL would compute it",
        remedy: "Fix the column's type in the configuration, so that its value is copied.",
      }),
    ),
    ...unordered.map(
      (column): Finding => ({
        severity: "blocker",
        code: "key-type",
        source,
        table: table.name,
        ...(column.column === null ? {} : { column: column.column }),
        message: `is part of the key, and PostgreSQL cannot compare ${column.codec.type}`,
        remedy: "Map the column to text or jsonb.",
      }),
    ),
  ];
}

/** Types whose values PostgreSQL compares in a foreign key without a cast that could fail. */
const FAMILIES: readonly (readonly string[])[] = [
  ["bigint", "integer", "smallint"],
  ["text", "varchar", "char"],
  ["double precision", "real"],
  ["timestamptz", "timestamp", "date"],
];

/** True when a foreign key may lead from a column of codec `child` to one of codec `parent`. */
export function comparable(child: string, parent: string): boolean {
  return child === parent || FAMILIES.some((family) => family.includes(child) && family.includes(parent));
}

/**
 * The column pairs of a foreign key whose types PostgreSQL would not accept; empty when one side is not
 * copied.
 */
function unlikePairs(
  child: TableMapping,
  foreignKey: ForeignKey,
  parent: TableMapping,
): {
  readonly column: string;
  readonly type: string;
  readonly parentColumn: string;
  readonly parentType: string;
}[] {
  return foreignKey.columns.flatMap((name, i) => {
    const parentName = foreignKey.parentColumns[i];
    const from = find(child, name);
    const to = parentName === undefined ? undefined : find(parent, parentName);
    if (!from || !to || comparable(from.codec.name, to.codec.name)) return [];
    return [
      {
        column: from.column ?? name,
        type: from.codec.type,
        parentColumn: to.column ?? "",
        parentType: to.codec.type,
      },
    ];
  });
}

function find(mapping: TableMapping, name: string) {
  return mapping.columns.find((column) => column.column?.toLowerCase() === name.toLowerCase());
}

export function foreignKeyFindings(mappings: readonly TableMapping[], source: string): Finding[] {
  return mappings.flatMap((child) =>
    child.table.foreignKeys.flatMap((foreignKey) => {
      const parent = mappings.find((m) => m.table.name.toLowerCase() === foreignKey.parent.toLowerCase());
      if (!parent) return [];
      return unlikePairs(child, foreignKey, parent).map(
        ({ column, type, parentColumn, parentType }): Finding => ({
          severity: "warning",
          code: "foreign-key-types",
          source,
          table: child.table.name,
          column,
          message: `is ${type} and refers to ${parent.table.name}.${parentColumn}, which is ${parentType}: PostgreSQL gets no such foreign key`,
          remedy: `Give both the same type in the configuration, for example { type: ${parentType.includes(",") ? `"${parentType}"` : parentType} }.`,
        }),
      );
    }),
  );
}
