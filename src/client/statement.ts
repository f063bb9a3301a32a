// One statement for both stores: `?` and `$1` become each store's own placeholders, and the keywords that
// decide where a statement may run are found. It owns a tokenizer for everything that is not code (strings,
// quoted names, comments, dollar quotes) and no other grammar. It runs nothing.
import { QueryError, type StoreName } from "./errors.js";

interface Translated {
  /** With the store's own placeholders, numbered from 1 without gaps; without a semicolon at the end. */
  readonly sql: string;
  /** The caller's parameter (from 0) behind each placeholder number. */
  readonly slots: readonly number[];
  /** How many parameters the caller must pass. */
  readonly parameters: number;
  /** The first word, in capitals; `ROLLBACK TO` for going back to a savepoint. */
  readonly verb: string;
  /** True when its keywords only read. */
  readonly reads: boolean;
  /** The table that an INSERT names, as written there; null for everything else. */
  readonly insertsInto: string | null;
  readonly returning: boolean;
  /** ON CONFLICT … DO UPDATE: rows may be changed instead of inserted. */
  readonly upsert: boolean;
}

type Kind = "word" | "name" | "parameter" | "other";

interface Token {
  readonly kind: Kind;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly depth: number;
}

const LINE_COMMENT = String.raw`--[^\n]*`;
const DOLLAR = String.raw`\$(?<tag>[A-Za-z_\u{80}-\u{10ffff}][\w\u{80}-\u{10ffff}]*)?\$[\s\S]*?(?:\$\k<tag>\$|$)`;
const REST = String.raw`(?<parameter>\$\d+|\?\d*)|(?<number>\d[\w.]*|\.\d[\w.]*)|(?<word>[A-Za-z_\u{80}-\u{10ffff}][\w$\u{80}-\u{10ffff}]*)|[\s\S]`;

// [names] and `names` are SQLite's; in PostgreSQL a bracket is an array. E'…' with backslashes is PostgreSQL's.
const LEXEMES: Readonly<Record<StoreName, string>> = {
  sqlite: String.raw`(?<space>\s+|${LINE_COMMENT}|\/\*[\s\S]*?(?:\*\/|$))|(?<string>${DOLLAR})|(?<name>"(?:[^"]|"")*"?|${"`"}(?:[^${"`"}]|${"``"})*${"`"}?|\[[^\]]*\]?)|${REST}`,
  postgres: String.raw`(?<space>\s+|${LINE_COMMENT})|(?<string>[eE]'(?:[^'\\]+|\\[\s\S]|'')*'?|${DOLLAR})|(?<name>"(?:[^"]|"")*"?)|${REST}`,
};

function tokens(sql: string, store: StoreName): Token[] {
  const lexeme = new RegExp(LEXEMES[store], "uy");
  const found: Token[] = [];
  let depth = 0;
  let at = 0;
  while (at < sql.length) {
    if (store === "postgres" && sql.startsWith("/*", at)) {
      at = afterNestedComment(sql, at);
      continue;
    }
    if (sql[at] === "'") {
      const end = afterString(sql, at);
      found.push({ kind: "other", text: "'", start: at, end, depth });
      at = end;
      continue;
    }
    lexeme.lastIndex = at;
    const match = lexeme.exec(sql);
    if (!match) break;
    const text = match[0];
    const end = at + text.length;
    const groups = match.groups ?? {};
    if (text === ")") depth -= 1;
    if (groups.space === undefined) found.push({ kind: kindOf(groups), text, start: at, end, depth });
    if (text === "(") depth += 1;
    at = end;
  }
  return found;
}

function kindOf(groups: Readonly<Record<string, string | undefined>>): Kind {
  if (groups.word !== undefined) return "word";
  if (groups.name !== undefined) return "name";
  return groups.parameter === undefined ? "other" : "parameter";
}

/** Not by the regular expression, which overflows on the quotes of a very long one. */
function afterString(sql: string, start: number): number {
  let at = start + 1;
  for (;;) {
    const quote = sql.indexOf("'", at);
    if (quote < 0) return sql.length;
    if (sql[quote + 1] !== "'") return quote + 1;
    at = quote + 2;
  }
}

/** PostgreSQL's block comments nest. */
function afterNestedComment(sql: string, start: number): number {
  let open = 0;
  let at = start;
  while (at < sql.length) {
    if (sql.startsWith("/*", at)) open += 1;
    else if (sql.startsWith("*/", at)) open -= 1;
    else {
      at += 1;
      continue;
    }
    at += 2;
    if (open === 0) return at;
  }
  return sql.length;
}

/**
 * Translates a statement for a store. A statement with a `$n` outside of literals is not searched for `?`, which
 * is then an operator. @throws QueryError for an empty statement
 */
export function translateStatement(sql: string, store: StoreName): Translated {
  if (typeof sql !== "string") throw new QueryError("a statement is text", { code: "STATEMENT" });
  const list = tokens(sql, store);
  while (list.at(-1)?.text === ";") list.pop();
  const last = list.at(-1);
  if (!last) throw new QueryError("the statement is empty", { code: "STATEMENT" });
  return { ...placed(sql, list, store, last.end), ...described(sql, list) };
}

function placed(
  sql: string,
  list: readonly Token[],
  store: StoreName,
  end: number,
): Pick<Translated, "sql" | "slots" | "parameters"> {
  const parameters = list.filter(({ kind }) => kind === "parameter");
  const numbered = parameters.some(({ text }) => text.startsWith("$"));
  const used = numbered ? parameters.filter(({ text }) => text.startsWith("$")) : parameters;
  const mark = store === "sqlite" ? "?" : "$";
  const slots: number[] = [];
  let largest = 0;
  let text = "";
  let at = 0;
  for (const token of used) {
    // A bare ? is one more than the largest number before it, as in SQLite.
    const number = token.text === "?" ? largest + 1 : Number(token.text.slice(1));
    if (number < 1 || number > 65_535) {
      throw new QueryError(`${token.text} is no placeholder: they count from 1 to 65535`, {
        code: "STATEMENT",
      });
    }
    largest = Math.max(largest, number);
    let slot = slots.indexOf(number - 1);
    if (slot < 0) slot = slots.push(number - 1) - 1;
    text += `${sql.slice(at, token.start)}${mark}${slot + 1}`;
    at = token.end;
  }
  return { sql: text + sql.slice(at, end), slots, parameters: largest };
}

const READS = new Set(["SELECT", "VALUES", "TABLE", "WITH", "SHOW", "EXPLAIN", "PRAGMA"]);
// UPDATE also stands in FOR UPDATE, which belongs to a transaction; INTO in SELECT … INTO, which makes a table.
const WRITES = new Set(["INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "REPLACE"]);

function described(sql: string, list: readonly Token[]): Omit<Translated, "sql" | "slots" | "parameters"> {
  const word = (i: number) => (list[i]?.kind === "word" ? list[i]?.text.toUpperCase() : undefined) ?? "";
  const first = list.findIndex(({ text }) => text !== "(");
  const back = word(0) === "ROLLBACK" && [word(1), word(2)].includes("TO");
  const verb = back ? "ROLLBACK TO" : word(first);
  const writes = list.some((_, i) => WRITES.has(word(i)) && list[i + 1]?.text !== "(");
  const top = (...words: string[]) =>
    list.findIndex((token, i) => token.depth === 0 && words.every((one, k) => word(i + k) === one));
  const inserts = /^(INSERT|REPLACE|WITH)$/.test(verb) && (top("INSERT") >= 0 || top("REPLACE") >= 0);
  const into = inserts ? top("INTO") : -1;
  return {
    verb,
    reads: READS.has(verb) && !writes,
    insertsInto: into < 0 ? null : tableAt(sql, list, into + 1),
    returning: top("RETURNING") >= 0,
    upsert: top("DO", "UPDATE") >= 0,
  };
}

/** `name` or `schema.name` from the token at `first`, as written. */
function tableAt(sql: string, list: readonly Token[], first: number): string | null {
  const isName = (i: number) => list[i]?.kind === "word" || list[i]?.kind === "name";
  const start = list[first];
  if (!start || !isName(first)) return null;
  const qualified = list[first + 1]?.text === "." && isName(first + 2);
  return sql.slice(start.start, (qualified ? list[first + 2] : start)?.end);
}

/** Statements repeat: keeps the translations of the most recent ones; of long ones only the last. */
const KEPT_MAX = 500;
export const KEPT_CHARACTERS_MAX = 20_000;
const kept = new Map<string, Translated>();
const long = new Map<StoreName, { readonly sql: string; readonly made: Translated }>();

/** `translate`, remembered. */
export function translated(sql: string, store: StoreName): Translated {
  if (sql?.length > KEPT_CHARACTERS_MAX) {
    const last = long.get(store);
    if (last?.sql === sql) return last.made;
    const made = translateStatement(sql, store);
    long.set(store, { sql, made });
    return made;
  }
  const key = `${store} ${sql}`;
  const known = kept.get(key);
  if (known) return known;
  const made = translateStatement(sql, store);
  if (kept.size >= KEPT_MAX) kept.delete(kept.keys().next().value ?? "");
  kept.set(key, made);
  return made;
}
