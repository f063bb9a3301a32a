// Reads from the text of a CREATE statement what SQLite's pragmas do not report. That is CHECKs, generating
// expressions, column collations, deferred foreign keys, AUTOINCREMENT, and the terms and predicate of an
// index. The text comes from sqlite_schema, so SQLite has already accepted it. This is a reader of valid DDL,
// not a validator. It knows no database and no PostgreSQL.
import type { Check } from "./model.js";
import { closing, isOperator, isWord, splitAtCommas, type Token, textOf, tokens } from "./sqlite-tokens.js";

interface ColumnText {
  readonly name: string;
  readonly collation: string | null;
  /** The generating expression without its parentheses. */
  readonly generatedAs: string | null;
}

export interface TableText {
  readonly columns: readonly ColumnText[];
  readonly checks: readonly Check[];
  /** One entry per foreign key, in the order of the text: is it DEFERRABLE INITIALLY DEFERRED? */
  readonly deferred: readonly boolean[];
  readonly autoincrement: boolean;
}

interface IndexText {
  /** Each term's expression, without a COLLATE, ASC or DESC at its end. */
  readonly terms: readonly string[];
  readonly where: string | null;
}

/** Reads a CREATE TABLE. A text without a column list (SQLite never stores one) gives an empty result. */
export function readCreateTable(sql: string): TableText {
  const list = tokens(sql);
  const open = list.findIndex((token) => isOperator(token, "("));
  const table = {
    columns: [] as ColumnText[],
    checks: [] as Check[],
    deferred: [] as boolean[],
    autoincrement: false,
  };
  if (open < 0) return table;
  for (const part of splitAtCommas(list.slice(open + 1, closing(list, open)))) {
    const isConstraint = isWord(part[0], "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN");
    const clauses = readClauses(isConstraint ? part : part.slice(1));
    table.checks.push(...clauses.checks);
    table.deferred.push(...clauses.deferred);
    table.autoincrement ||= clauses.autoincrement;
    const name = part[0];
    if (name && !isConstraint) {
      table.columns.push({
        name: name.value,
        collation: clauses.collation,
        generatedAs: clauses.generatedAs,
      });
    }
  }
  return table;
}

interface Clauses {
  checks: Check[];
  deferred: boolean[];
  collation: string | null;
  generatedAs: string | null;
  autoincrement: boolean;
}

/**
 * The constraints of one column, or a series of table constraints (SQLite allows omitting the commas between
 * them).
 */
function readClauses(part: readonly Token[]): Clauses {
  const clauses: Clauses = {
    checks: [],
    deferred: [],
    collation: null,
    generatedAs: null,
    autoincrement: false,
  };
  let name: string | null = null;
  for (let i = 0; i < part.length; i++) {
    const token = part[i];
    const next = part[i + 1];
    if (isOperator(token, "(")) i = closing(part, i);
    else if (isWord(token, "CONSTRAINT")) name = part[++i]?.value ?? null;
    else if (isWord(token, "COLLATE")) clauses.collation = part[++i]?.value ?? null;
    else if (isWord(token, "AUTOINCREMENT")) clauses.autoincrement = true;
    else if (isWord(token, "CHECK") && isOperator(next, "(")) {
      const end = closing(part, i + 1);
      clauses.checks.push({ name, expression: textOf(part.slice(i + 2, end)) });
      name = null;
      i = end;
    } else if (isWord(token, "AS") && isOperator(next, "(")) {
      const end = closing(part, i + 1);
      clauses.generatedAs = textOf(part.slice(i + 2, end));
      i = end;
    } else if (isWord(token, "DEFAULT")) {
      // The default itself comes from the pragma. A bare word may be any identifier, even one like CHECK.
      if (isOperator(next, "+", "-")) i++;
      if (!isOperator(part[i + 1], "(")) i++;
    } else if (isWord(token, "REFERENCES")) {
      clauses.deferred.push(false);
      i++;
    } else if (isWord(token, "DEFERRABLE") && clauses.deferred.length > 0) {
      const deferred =
        isWord(next, "INITIALLY") && isWord(part[i + 2], "DEFERRED") && !isWord(part[i - 1], "NOT");
      clauses.deferred[clauses.deferred.length - 1] = deferred;
    } else if (isWord(token, "PRIMARY", "UNIQUE", "FOREIGN", "NOT")) {
      // A constraint's name belongs to the next constraint only; only the name of a CHECK is needed.
      name = null;
    }
  }
  return clauses;
}

/** The terms and the predicate of a CREATE INDEX. */
export function readCreateIndex(sql: string): IndexText {
  const list = tokens(sql);
  const on = list.findIndex((token) => isWord(token, "ON"));
  const open = list.findIndex((token, i) => i > on && isOperator(token, "("));
  if (on < 0 || open < 0) return { terms: [], where: null };
  const end = closing(list, open);
  const where = isWord(list[end + 1], "WHERE") ? textOf(withoutSemicolon(list.slice(end + 2))) : null;
  return { terms: splitAtCommas(list.slice(open + 1, end)).map((term) => textOf(withoutOrder(term))), where };
}

function withoutOrder(term: readonly Token[]): readonly Token[] {
  const bare = isWord(term.at(-1), "ASC", "DESC") ? term.slice(0, -1) : term;
  return bare.length > 2 && isWord(bare.at(-2), "COLLATE") ? bare.slice(0, -2) : bare;
}

function withoutSemicolon(list: readonly Token[]): readonly Token[] {
  return isOperator(list.at(-1), ";") ? list.slice(0, -1) : list;
}
