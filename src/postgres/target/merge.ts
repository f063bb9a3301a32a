// The statements that move one table's rows, built from its mapping. A batch is either one JSON parameter (few rows,
// one message) or a staged temporary table (many rows, COPY). Both are read as a relation named x with text columns
// c0 … cn, or typed ones where COPY has parsed them already.
//
// Order within a transaction: rows that are gone, then rows whose unique values change, then the writes. After the
// deletions no touched row holds a unique value that another one is about to take. So swaps and rotations, legal at
// the end of a source transaction, never collide on the way.
//
// Each statement is counted where it runs: it fails in PostgreSQL when it touches another number of rows than were
// sent. A rule, a trigger that returns NULL or a policy would drop rows without an error. A window's statements are
// sent together with their COMMIT, so that a count that the client compares would come too late.

import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { at } from "../../present.js";
import { quote } from "../../schema/model.js";

/** What PostgreSQL's catalogue says about a target table that decides how rows are merged. */
export interface TargetFacts {
  /** A usable unique index on exactly the key: ON CONFLICT may name it. */
  readonly upserts: boolean;
  /** Target columns that unique indexes other than the key's depend on, expressions and predicates included. */
  readonly uniqueColumns: ReadonlySet<string>;
  /** Columns that refuse an UPDATE: GENERATED ALWAYS identities. */
  readonly alwaysIdentity: ReadonlySet<string>;
  /** Columns that only the target has. A row that is deleted and written again must keep what it had there. */
  readonly own: readonly OwnColumn[];
  /** Where a table that is being copied again has kept its own columns. */
  readonly saved?: { readonly relation: string; readonly columns: readonly string[] };
}

export interface OwnColumn {
  readonly name: string;
  /** SQL of what a new row gets. */
  readonly value: string;
}

export function qualifiedName(mapping: TableMapping): string {
  return `${quote(mapping.schema)}.${quote(mapping.target)}`;
}

/** `x` for rows passed as the JSON array $3 of objects with the members c0 … cn. */
function jsonRelation(columns: readonly ColumnMapping[]): string {
  return `json_to_recordset($3::json) AS x(${columns.map((_, i) => `c${i} text`).join(", ")})`;
}

/** The JSON parameter for `jsonRelation`. */
function jsonRows(rows: readonly (readonly (string | null)[])[]): string {
  return JSON.stringify(rows.map((row) => Object.fromEntries(row.map((value, i) => [`c${i}`, value]))));
}

/** `x` for rows staged in a temporary table. */
export function stagedRelation(stage: string): string {
  return `pg_temp.${quote(stage)} AS x`;
}

/** DDL of a staging table; its columns have the target's types, for COPY to parse. */
export function createStage(
  stage: string,
  columns: readonly ColumnMapping[],
  onCommit: "DROP" | "DELETE ROWS" = "DROP",
): string {
  const list = columns.map((column, i) => `c${i} ${column.codec.type}`);
  return `CREATE TEMP TABLE ${quote(stage)} (${list.join(", ")}) ON COMMIT ${onCommit}`;
}

export function copyStage(stage: string, columns: readonly ColumnMapping[]): string {
  return `COPY pg_temp.${quote(stage)} (${columns.map((_, i) => `c${i}`).join(", ")}) FROM STDIN (FORMAT csv)`;
}

export function copyTarget(mapping: TableMapping): string {
  const columns = mapping.columns.map((column) => quote(column.target)).join(", ");
  return `COPY ${qualifiedName(mapping)} (${columns}) FROM STDIN (FORMAT csv)`;
}

/** Deletes the rows whose keys stand in x. Every statement here takes the table's name as $1 and x's rows as $2. */
function deleteKeys(mapping: TableMapping, relation: string, typed: boolean): string {
  const match = mapping.key.map((column, i) => `t.${quote(column.target)} = ${value(column, i, typed)}`);
  return countedDelete(mapping, relation, match);
}

/** Deletes the rows in x that are present: all of them, or only those whose unique values are about to change. */
export function deleteRows(
  mapping: TableMapping,
  facts: TargetFacts,
  relation: string,
  typed: boolean,
): string {
  return countedDelete(mapping, relation, inTheWay(mapping, facts, typed));
}

/** The row t is an older version of one in x: any, or, where rows can be written over, one with other unique values. */
export function inTheWay(mapping: TableMapping, facts: TargetFacts, typed: boolean): string[] {
  const match = keyMatch(mapping, typed);
  const at = (column: ColumnMapping) => mapping.columns.findIndex((other) => other.target === column.target);
  const unique = mapping.columns.filter((column) => facts.uniqueColumns.has(column.target));
  if (facts.upserts && unique.length > 0) {
    const differs = unique.map(
      (column) => `t.${quote(column.target)} IS DISTINCT FROM ${value(column, at(column), typed)}`,
    );
    match.push(`(${differs.join(" OR ")})`);
  }
  return match;
}

/** `deleteRows`, uncounted: the write after it is counted, and meets whatever row a deletion passed over. */
export function deleteRowsUncounted(mapping: TableMapping, facts: TargetFacts, relation: string): string {
  return plainDelete(mapping, relation, inTheWay(mapping, facts, true));
}

/** `deleteKeys` for typed keys, uncounted; `remaining` tells whether any of them are left. */
export function deleteKeysUncounted(
  mapping: TableMapping,
  relation: string,
): { delete: string; remaining: string } {
  const match = mapping.key.map((column, i) => `t.${quote(column.target)} = ${value(column, i, true)}`);
  const remaining = `SELECT count(*)::int AS count FROM ${qualifiedName(mapping)} AS t, ${relation} WHERE ${match.join(" AND ")}`;
  return { delete: plainDelete(mapping, relation, match), remaining };
}

function plainDelete(mapping: TableMapping, relation: string, match: readonly string[]): string {
  return `DELETE FROM ${qualifiedName(mapping)} AS t USING ${relation} WHERE ${match.join(" AND ")}`;
}

/** A key may have no row: those that are there in the statement's snapshot are all to be deleted by it. */
function countedDelete(mapping: TableMapping, relation: string, match: readonly string[]): string {
  const where = match.join(" AND ");
  return withTouchedCheck(
    plainDelete(mapping, relation, match),
    `(SELECT count(*) FROM ${qualifiedName(mapping)} AS t, ${relation} WHERE ${where})`,
  );
}

/** The statement, which fails where it touches other than $2 rows; where fewer may be right, `wanted` counts them. */
export function withTouchedCheck(statement: string, wanted: string, before = ""): string {
  return `WITH ${before}touched AS (${statement} RETURNING 1)
    SELECT CASE WHEN n <> $2 THEN switchback.assert_touched($1, ${wanted}, n) END FROM (SELECT count(*) AS n FROM touched) AS x`;
}

/** A row of x and the row t of the table have the same key. */
export function keyMatch(mapping: TableMapping, typed: boolean, t = "t"): string[] {
  return mapping.key.map((column) => {
    const at = mapping.columns.findIndex((other) => other.target === column.target);
    return `${t}.${quote(column.target)} = ${value(column, at, typed)}`;
  });
}

/** `writeRows`, counted. */
export function countedWrite(
  mapping: TableMapping,
  facts: TargetFacts,
  relation: string,
  typed: boolean,
  kept = "",
): string {
  const present = `(SELECT count(*) FROM ${qualifiedName(mapping)} AS t, ${relation} WHERE ${keyMatch(mapping, typed).join(" AND ")})`;
  return withTouchedCheck(
    writeRows(mapping, facts, relation, typed, kept),
    tellsPresent(mapping, facts) ? "$2" : `$2 - ${present}`,
  );
}

/** False where `writeRows` says DO NOTHING, which does not tell of the rows that were there. */
export function tellsPresent(mapping: TableMapping, facts: TargetFacts): boolean {
  return !facts.upserts || mapping.columns.some(({ target }) => !facts.alwaysIdentity.has(target));
}

/**
 * Writes the rows in x: an upsert on the key where the target can, else a plain insert after `deleteRows`. `kept` is a
 * relation of keys with what the rows had in the target's own columns, where some had to be deleted.
 */
export function writeRows(
  mapping: TableMapping,
  facts: TargetFacts,
  relation: string,
  typed: boolean,
  kept = "",
): string {
  const columns = mapping.columns.map((column) => quote(column.target));
  const values = mapping.columns.map((column, i) => value(column, i, typed));
  const own = kept === "" ? [] : facts.own;
  const known = `k.${quote(at(mapping.key, 0, "key column").target)} IS NOT NULL`;
  const ownValues = own.map((c) => `CASE WHEN ${known} THEN k.${quote(c.name)} ELSE ${c.value} END`);
  const into = [...columns, ...own.map((column) => quote(column.name))].join(", ");
  const from =
    kept === ""
      ? relation
      : `${relation} LEFT JOIN ${kept} AS k ON ${keyMatch(mapping, typed, "k").join(" AND ")}`;
  const insert = `INSERT INTO ${qualifiedName(mapping)} (${into}) OVERRIDING SYSTEM VALUE SELECT ${[...values, ...ownValues].join(", ")} FROM ${from}`;
  if (!facts.upserts) return insert;
  // The key is written too: two values can be equal to the index and still not be the same (1 and 1.0).
  const updated = columns.filter(
    (_, i) => !facts.alwaysIdentity.has(at(mapping.columns, i, "column").target),
  );
  const set = updated.map((column) => `${column} = excluded.${column}`).join(", ");
  const key = mapping.key.map((column) => quote(column.target)).join(", ");
  return `${insert} ON CONFLICT (${key}) DO ${set === "" ? "NOTHING" : `UPDATE SET ${set}`}`;
}

/** A value of x in the column's type. Text into varchar(n) is left to assignment: a cast would cut it silently. */
function value(column: ColumnMapping, index: number, typed: boolean): string {
  const { type } = column.codec;
  return typed || /^(text|varchar|character|char)\b/i.test(type) ? `x.c${index}` : `x.c${index}::${type}`;
}

/** What moves a table's few rows, in this order: those that are gone, those in the way, those to write. */
export function narrowStatements(
  mapping: TableMapping,
  facts: TargetFacts,
  rows: readonly (string | null)[][],
  gone: readonly (string | null)[][],
): { name: string; text: string; values: unknown[] }[] {
  const { name } = mapping.table;
  const statement = (text: string, list: readonly (string | null)[][]) =>
    list.length === 0
      ? []
      : [{ name: statementName(text), text, values: [name, list.length, jsonRows(list)] }];
  // A single row can only collide with rows that the window leaves alone, and a legal state has none such.
  const collides = !facts.upserts || (facts.uniqueColumns.size > 0 && rows.length + gone.length > 1);
  const texts = narrowTexts(mapping, facts);
  const goes = statement(texts.deleteKeys, gone);
  if (collides && facts.own.length > 0) return [...goes, ...statement(texts.move, rows)];
  return [...goes, ...(collides ? statement(texts.deleteRows, rows) : []), ...statement(texts.write, rows)];
}

interface NarrowTexts {
  readonly deleteKeys: string;
  readonly deleteRows: string;
  readonly move: string;
  readonly write: string;
}

/** Built once for what is known of a table: every window uses them, and the text is as long as the table is wide. */
const texts = new WeakMap<TargetFacts, NarrowTexts>();

function narrowTexts(mapping: TableMapping, facts: TargetFacts): NarrowTexts {
  const known = texts.get(facts);
  if (known) return known;
  const relation = jsonRelation(mapping.columns);
  const built = {
    deleteKeys: deleteKeys(mapping, jsonRelation(mapping.key), false),
    deleteRows: deleteRows(mapping, facts, relation, false),
    move: movingWrite(mapping, facts, relation),
    write: countedWrite(mapping, facts, relation, false),
  };
  texts.set(facts, built);
  return built;
}

/**
 * Deletes the rows in the way and writes x, in one statement that carries over what the target's own columns hold. The
 * rows deleted are gathered in one array, which is complete before the first row is written.
 */
function movingWrite(mapping: TableMapping, facts: TargetFacts, relation: string): string {
  const moved = `moved AS (DELETE FROM ${qualifiedName(mapping)} AS t USING ${relation} WHERE ${inTheWay(mapping, facts, false).join(" AND ")} RETURNING t AS r), `;
  const kept = "unnest((SELECT array_agg(moved.r) FROM moved))";
  return withTouchedCheck(writeRows(mapping, facts, relation, false, kept), "$2", moved);
}

/** Prepared statements are named by their text, so that each is parsed and planned once a session. */
const names = new Map<string, string>();
function statementName(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    name = `switchback_${names.size}`;
    names.set(text, name);
  }
  return name;
}
