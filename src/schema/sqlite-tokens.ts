// SQLite's SQL text as tokens. The schema model carries SQL that the application wrote: defaults, CHECKs,
// predicates of partial indexes. The schema reader and the translator both look inside. Regular expressions
// cannot: a keyword or a comma may stand in a string, in one of four kinds of quoted name, or in a comment.
// This file knows the lexical rules only: no grammar, no engine.

type TokenKind = "word" | "name" | "string" | "blob" | "number" | "operator";

export interface Token {
  readonly kind: TokenKind;
  /** As written. */
  readonly text: string;
  /**
   * A word as written; a quoted name or a string without its quotes; a blob's hex digits; otherwise the text
   * as written.
   */
  readonly value: string;
  /** For a quoted name: which quotes. A name in double quotes may turn out to be a string. */
  readonly quotes: '"' | "[" | "`" | "";
  readonly start: number;
  readonly end: number;
}

// The order matters: the longest operators first, a blob before the word x, a comment before the operators -
// and /.
const LEXEME =
  /(?<space>[\s\u{feff}]+|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|(?<string>'(?:[^']|'')*'?)|(?<name>"(?:[^"]|"")*"?|`(?:[^`]|``)*`?|\[[^\]]*\]?)|(?<blob>[xX]'[0-9a-fA-F]*')|(?<number>0[xX][0-9a-fA-F_]+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?)|(?<word>[A-Za-z_$\u{80}-\u{10ffff}][\w$\u{80}-\u{10ffff}]*)|(?<operator>->>|->|\|\||<<|>>|<=|>=|<>|!=|==|[\s\S])/uy;

/** Every token of `sql`, without white space and comments. An unterminated literal runs to the end. */
export function tokens(sql: string): Token[] {
  const found: Token[] = [];
  LEXEME.lastIndex = 0;
  for (let match = LEXEME.exec(sql); match; match = LEXEME.exec(sql)) {
    const kind = kindOf(match.groups ?? {});
    const text = match[0];
    const start = match.index;
    if (kind)
      found.push({
        kind,
        text,
        value: unquoted(kind, text),
        quotes: quotesOf(kind, text),
        start,
        end: start + text.length,
      });
  }
  return found;
}

const KINDS: readonly TokenKind[] = ["string", "name", "blob", "number", "word", "operator"];

function kindOf(groups: Readonly<Record<string, string | undefined>>): TokenKind | undefined {
  return KINDS.find((kind) => groups[kind] !== undefined);
}

function quotesOf(kind: TokenKind, text: string): Token["quotes"] {
  if (kind !== "name") return "";
  return text.startsWith("[") ? "[" : text.startsWith("`") ? "`" : '"';
}

function unquoted(kind: TokenKind, text: string): string {
  if (kind === "blob") return text.slice(2, -1);
  if (kind !== "string" && kind !== "name") return text;
  const mark = text.charAt(0);
  if (mark === "[") return text.slice(1, text.endsWith("]") ? -1 : undefined);
  const closed = text.length > 1 && text.endsWith(mark);
  return text.slice(1, closed ? -1 : undefined).replaceAll(mark + mark, mark);
}

/** True for the unquoted keyword, in any case. */
export function isWord(token: Token | undefined, ...words: string[]): boolean {
  return token?.kind === "word" && words.includes(token.text.toUpperCase());
}

export function isOperator(token: Token | undefined, ...operators: string[]): boolean {
  return token?.kind === "operator" && operators.includes(token.text);
}

/** The index of the parenthesis that closes the one at `open`; the list's length when none does. */
export function closing(list: readonly Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < list.length; i++) {
    if (isOperator(list[i], "(")) depth++;
    else if (isOperator(list[i], ")") && --depth === 0) return i;
  }
  return list.length;
}

/** The parts between the commas that stand outside parentheses. */
export function splitAtCommas(list: readonly Token[]): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of list) {
    if (isOperator(token, "(")) depth++;
    else if (isOperator(token, ")")) depth--;
    if (depth === 0 && isOperator(token, ",")) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts;
}

/** The tokens as SQL again, as written, without comments, and with one space where there was white space. */
export function textOf(list: readonly Token[]): string {
  let text = "";
  let end = list[0]?.start ?? 0;
  for (const token of list) {
    if (token.start > end) text += " ";
    text += token.text;
    end = token.end;
  }
  return text;
}
