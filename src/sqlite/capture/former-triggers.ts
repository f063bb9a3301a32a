// The capture triggers that version 0.1.0 installed, byte for byte. A file that has all of them was captured
// as well as that version could. It gets today's triggers without a new copy.
import { present } from "../../present.js";
import { type Index, type IndexTerm, keyExpressions, quote, type Table } from "../../schema/model.js";
import { hasHiddenRowid, isTheKey, logKeyColumns, type Trigger } from "./triggers.js";

/** The triggers of version 0.1.0 for `table` under the log's number `id`. */
export function formerTriggers(table: Table, id: number): Trigger[] {
  const keys = keyExpressions(table);
  const target = `_switchback_log (t, ${logKeyColumns(keys.length).join(", ")})`;
  const on = `ON ${quote(table.name)}`;
  const touch = (row: "NEW" | "OLD") =>
    `INSERT INTO ${target} VALUES (${[id, ...keys.map((key) => `${row}.${key}`)].join(", ")});`;
  const trigger = (suffix: string, when: string, ...statements: string[]): Trigger => {
    const name = `_switchback_${id}_${suffix}`;
    const text = `CREATE TRIGGER ${quote(name)} ${when} BEGIN ${statements.join(" ")} END`;
    return { name, sql: text, statements: [when, ...statements] };
  };
  // Compared byte for byte: 'Bob' → 'bob' is another key even where the column's collation says it is not.
  const moved = keys.map((k) => `OLD.${k} COLLATE BINARY IS NOT NEW.${k}`).join(" OR ");
  const triggers = [
    trigger("insert", `AFTER INSERT ${on}`, touch("NEW")),
    trigger("update", `AFTER UPDATE ${on}`, touch("NEW")),
    trigger("rekey", `AFTER UPDATE ${on} WHEN ${moved}`, touch("OLD")),
    trigger("delete", `AFTER DELETE ${on}`, touch("OLD")),
  ];
  const evictions = table.indexes.filter((index) => index.unique && !isTheKey(table, index));
  const victim = (where: string) =>
    `INSERT INTO ${target} SELECT ${id}, ${keys.join(", ")} FROM ${quote(table.name)} WHERE ${where};`;
  const onInsert = evictions.map((index) => victim(conflict(table, index)));
  const onUpdate = evictions.map((index) => victim(`${changed(index)}${conflict(table, index)}`));
  if (hasHiddenRowid(table)) {
    // A writer may name the rowid itself: REPLACE INTO t(rowid, …) evicts the row with that rowid.
    const rowid = present(table.rowidAlias, "name for the rowid");
    onInsert.push(victim(`${rowid} = NEW.${rowid}`));
    onUpdate.push(victim(`NEW.${rowid} IS NOT OLD.${rowid} AND ${rowid} = NEW.${rowid}`));
  }
  if (onInsert.length > 0) {
    triggers.push(trigger("evict_insert", `BEFORE INSERT ${on}`, ...onInsert));
    triggers.push(trigger("evict_update", `BEFORE UPDATE ${on}`, ...onUpdate));
  }
  return triggers;
}

/** SQL over the table's present rows: true for those that `NEW` would collide with in this index. */
function conflict(table: Table, index: Index): string {
  const equal = index.terms.map(
    (term) => `${operand(term)} COLLATE ${quote(term.collation)} = ${incoming(table, term)}`,
  );
  // A partial index's predicate is repeated so that the lookup can use the index; when NEW itself does not
  // satisfy it, one key too many is touched.
  return [...equal, ...(index.where === null ? [] : [`(${index.where})`])].join(" AND ");
}

function operand(term: IndexTerm): string {
  return term.column === null ? `(${term.expression})` : quote(term.column);
}

function incoming(table: Table, term: IndexTerm): string {
  if (term.column !== null) return `NEW.${quote(term.column)}`;
  // The expression's own column names are bound to NEW's values by a one-row subquery, so that its text needs
  // no rewriting. Only names that occur in the text are offered.
  const text = term.expression.toLowerCase();
  const offered = table.columns.filter((column) => text.includes(column.name.toLowerCase()));
  const row = offered.map((column) => `NEW.${quote(column.name)} AS ${quote(column.name)}`).join(", ");
  return `(SELECT ${term.expression} FROM (SELECT ${row === "" ? "1" : row}))`;
}

/** A cheap test that avoids the lookup when an update leaves the index's columns unchanged. */
function changed(index: Index): string {
  // An expression or a predicate may depend on any column: always look it up.
  if (index.where !== null || index.terms.some((term) => term.column === null)) return "";
  const tests = index.terms.map((term) => {
    const column = quote(present(term.column, "column of the index term"));
    return `NEW.${column} IS NOT OLD.${column}`;
  });
  return `(${tests.join(" OR ")}) AND `;
}
