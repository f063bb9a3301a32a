// The row as SQLite will store it, as SQL inside a BEFORE trigger. There NEW shows an earlier state: before
// SQLite replaces NULLs with defaults (OR REPLACE, NOT NULL), chooses an automatic id (NEW has -1 instead)
// and computes generated columns from both.
//
// An expression of the application can fail for a row for which SQLite would never evaluate it. So an index's
// expression is evaluated only where the index's own predicate holds, and JSON only where the text is JSON.
import { columnOf, type Index, type IndexTerm, quote, type Table } from "../../schema/model.js";
import { isOperator, isWord, type Token, tokens } from "../../schema/sqlite-tokens.js";
import { substituteOf } from "./default-for-null.js";

export class WrittenRow {
  constructor(
    private readonly table: Table,
    /** SQL that stands for the integer primary key; null for NEW's own. */
    private readonly id: string | null = null,
  ) {}

  /** The same for an INSERT that leaves the id to SQLite; null where a table has none. */
  withNextId(): WrittenRow | null {
    const { integerPrimaryKey: id, name, autoincrement } = this.table;
    if (id === null) return null;
    const highest = `ifnull((SELECT max(${quote(id)}) FROM ${quote(name)}), 0)`;
    if (!autoincrement) return new WrittenRow(this.table, `(${highest} + 1)`);
    const given = `ifnull((SELECT max(seq) FROM sqlite_sequence WHERE name = '${name.replaceAll("'", "''")}'), 0)`;
    return new WrittenRow(this.table, `(max(${highest}, ${given}) + 1)`);
  }

  /** A column's value. */
  value(name: string): string {
    const column = columnOf(this.table, name);
    const own = `NEW.${quote(name)}`;
    if (name === this.table.integerPrimaryKey) return this.id ?? own;
    if (this.recomputes(name))
      return `(SELECT ${quote(name)} FROM ${this.row(new Set([name.toLowerCase()]))})`;
    const substitute = substituteOf(column);
    return substitute === null ? own : `ifnull(${own}, ${substitute})`;
  }

  /** The value of an index's term, for an index with that predicate. */
  term({ column, expression }: IndexTerm, where: string | null): string {
    if (column !== null) return this.value(column);
    const text = expression;
    const guards = jsonColumns(`${text} ${where ?? ""}`, this.table).map(
      (name) => `(typeof(${quote(name)}) = 'blob' OR ifnull(json_valid(${quote(name)}), 1))`,
    );
    const conditions = [...guards, ...(where === null ? [] : [`(${where})`])];
    const guarded = conditions.length === 0 ? text : `CASE WHEN ${conditions.join(" AND ")} THEN ${text} END`;
    return `(SELECT ${guarded} FROM ${this.row(namesIn(`${text} ${where ?? ""}`))})`;
  }

  /**
   * True for a generated column that SQLite computes again after the BEFORE triggers, from values other than
   * NEW's.
   */
  recomputes(name: string): boolean {
    return this.dependsOn(name, (column) => {
      const filled = substituteOf(columnOf(this.table, column)) !== null;
      return filled || (this.id !== null && column === this.table.integerPrimaryKey);
    });
  }

  /** True when the index holds a value computed from the integer primary key. */
  computesFromId({ terms, where }: Index): boolean {
    const isId = (column: string) => column === this.table.integerPrimaryKey;
    return terms.some(({ column, expression }) => {
      if (column !== null) return this.dependsOn(column, isId);
      const named = this.columnsIn(namesIn(`${expression ?? ""} ${where ?? ""}`));
      return named.some(({ name }) => isId(name) || this.dependsOn(name, isId));
    });
  }

  /** True when a generated column is computed, directly or indirectly, from a column of that kind. */
  private dependsOn(name: string, kind: (column: string) => boolean): boolean {
    const { generatedAs } = columnOf(this.table, name);
    if (generatedAs === null) return false;
    const named = this.columnsIn(namesIn(generatedAs)).filter((other) => other.name !== name);
    return named.some((other) => kind(other.name) || this.dependsOn(other.name, kind));
  }

  private columnsIn(names: ReadonlySet<string>) {
    return this.table.columns.filter(({ name }) => names.has(name.toLowerCase()));
  }

  /**
   * A one-row subquery with the named columns, so that an expression's text needs no rewriting. Generated
   * columns that are computed again stand in layers, each above the columns that it depends on.
   */
  private row(names: ReadonlySet<string>): string {
    const wanted = this.columnsIn(names);
    const again = wanted.filter(({ name }) => this.recomputes(name));
    const plain = new Set(wanted.filter((column) => !again.includes(column)));
    for (const column of again) {
      for (const other of this.columnsIn(namesIn(column.generatedAs ?? ""))) {
        if (other === column || again.includes(other)) continue;
        if (this.recomputes(other.name)) again.push(other);
        else plain.add(other);
      }
    }
    const list = [...plain].map(({ name }) => `${this.value(name)} AS ${quote(name)}`).join(", ");
    let text = `(SELECT ${list === "" ? "1" : list})`;
    const depth = (name: string): number =>
      1 +
      Math.max(
        0,
        ...again
          .filter(
            (one) =>
              one.name !== name &&
              this.columnsIn(namesIn(columnOf(this.table, name).generatedAs ?? "")).includes(one),
          )
          .map((one) => depth(one.name)),
      );
    for (const { name, generatedAs } of [...again].sort((a, b) => depth(a.name) - depth(b.name)))
      text = `(SELECT *, (${generatedAs}) AS ${quote(name)} FROM ${text})`;
    return text;
  }
}

/** Every word of an expression that may be a column's name, in lower case. */
export function namesIn(text: string): Set<string> {
  const named = tokens(text).filter(({ kind }) => kind === "word" || kind === "name");
  return new Set(named.map(({ value }) => value.toLowerCase()));
}

/** The columns that an expression reads as JSON: in json_extract(j, …), j -> …, j ->> …. */
function jsonColumns(text: string, table: Table): string[] {
  const list = tokens(text);
  const takesJson = (i: number) =>
    isOperator(list[i + 1], "->", "->>") || (isOperator(list[i - 1], "(") && isJsonFunction(list[i - 2]));
  return table.columns
    .filter(({ name }) =>
      list.some(
        ({ kind, value }, i) =>
          (kind === "word" || kind === "name") && value.toLowerCase() === name.toLowerCase() && takesJson(i),
      ),
    )
    .map(({ name }) => name);
}

function isJsonFunction(token: Token | undefined): boolean {
  return (
    token?.kind === "word" && /^jsonb?(_|$)/i.test(token.text) && !isWord(token, "JSON_VALID", "JSON_QUOTE")
  );
}
