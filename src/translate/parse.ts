// Parses the SQL expressions of a SQLite schema into a tree, with SQLite's own precedence. It differs from
// PostgreSQL's: `=` and IS bind equally, `||` binds tighter than `*`. It knows SQLite's grammar only;
// typed-sql.ts and translate.ts give a node its meaning in PostgreSQL.
import { isOperator, isWord, type Token, tokens } from "../schema/sqlite-tokens.js";

export type Node =
  | {
      readonly kind: "literal";
      readonly of: "integer" | "real" | "text" | "blob" | "null";
      readonly value: string;
    }
  | {
      readonly kind: "name";
      readonly name: string;
      readonly quotes: Token["quotes"];
      readonly table: string | null;
    }
  | {
      readonly kind: "unary";
      readonly operator: "NOT" | "-" | "+" | "~" | "IS NULL" | "NOT NULL";
      readonly operand: Node;
    }
  | { readonly kind: "binary"; readonly operator: string; readonly left: Node; readonly right: Node }
  | {
      readonly kind: "like";
      readonly operator: string;
      readonly not: boolean;
      readonly operand: Node;
      readonly pattern: Node;
      readonly escape: Node | null;
    }
  | {
      readonly kind: "between";
      readonly not: boolean;
      readonly operand: Node;
      readonly low: Node;
      readonly high: Node;
    }
  | { readonly kind: "in"; readonly not: boolean; readonly operand: Node; readonly list: readonly Node[] }
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Node[] }
  | { readonly kind: "collate"; readonly operand: Node; readonly collation: string }
  | { readonly kind: "cast"; readonly operand: Node; readonly type: string }
  | {
      readonly kind: "case";
      readonly base: Node | null;
      readonly whens: readonly (readonly [Node, Node])[];
      readonly otherwise: Node | null;
    };

/** Why an expression has no exact counterpart, as the operator reads it. */
export class Untranslatable extends Error {}

const LEVELS: Readonly<Record<string, number>> = {
  OR: 1,
  AND: 2,
  "=": 4,
  "==": 4,
  "<>": 4,
  "!=": 4,
  IS: 4,
  "<": 5,
  "<=": 5,
  ">": 5,
  ">=": 5,
  "&": 7,
  "|": 7,
  "<<": 7,
  ">>": 7,
  "+": 8,
  "-": 8,
  "*": 9,
  "/": 9,
  "%": 9,
  "||": 10,
  "->": 10,
  "->>": 10,
};
const NOT_LEVEL = 3;
const EQUALITY_LEVEL = 4;
const UNARY_LEVEL = 12;
/** Deeper than any DDL written by hand; protects the stack against a hostile file. */
const DEPTH_MAX = 200;

/** The tree of `sql`, which is one whole expression. Throws Untranslatable for anything that it does not know. */
export function parseExpression(sql: string): Node {
  const parser = new Parser(tokens(sql));
  const node = parser.expression(0);
  parser.end();
  return node;
}

class Parser {
  #at = 0;
  #depth = 0;
  constructor(readonly list: readonly Token[]) {}

  end(): void {
    const token = this.#peek();
    if (token) throw new Untranslatable(`"${token.text}" is not understood here`);
  }

  expression(above: number): Node {
    if (++this.#depth > DEPTH_MAX) throw new Untranslatable("it is nested too deeply");
    let left = this.#prefix();
    for (let next = this.#infix(left, above); next; next = this.#infix(left, above)) left = next;
    this.#depth--;
    return left;
  }

  #prefix(): Node {
    const token = this.#next();
    if (isWord(token, "NOT"))
      return { kind: "unary", operator: "NOT", operand: this.expression(NOT_LEVEL - 1) };
    if (isOperator(token, "-", "+", "~")) {
      const operator = token.text === "-" ? "-" : token.text === "+" ? "+" : "~";
      return { kind: "unary", operator, operand: this.expression(UNARY_LEVEL - 1) };
    }
    if (isOperator(token, "(")) {
      const inner = this.expression(0);
      this.#expect(")");
      return inner;
    }
    return this.#primary(token);
  }

  #primary(token: Token): Node {
    if (token.kind === "string") return { kind: "literal", of: "text", value: token.value };
    if (token.kind === "blob") return { kind: "literal", of: "blob", value: token.value };
    if (token.kind === "number") return numberLiteral(token.text);
    if (isWord(token, "NULL")) return { kind: "literal", of: "null", value: "NULL" };
    if (isWord(token, "CASE")) return this.#case();
    if (isWord(token, "CAST")) return this.#cast();
    if (isWord(token, "SELECT", "EXISTS", "RAISE")) throw new Untranslatable("it holds a query");
    if (token.kind !== "word" && token.kind !== "name")
      throw new Untranslatable(`"${token.text}" is not understood here`);
    if (isOperator(this.#peek(), "(")) return this.#call(token.value);
    if (!isOperator(this.#peek(), "."))
      return { kind: "name", name: token.value, quotes: token.quotes, table: null };
    this.#next();
    const column = this.#next();
    return { kind: "name", name: column.value, quotes: column.quotes, table: token.value };
  }

  #call(name: string): Node {
    this.#expect("(");
    const args: Node[] = [];
    if (isOperator(this.#peek(), "*") || isWord(this.#peek(), "DISTINCT"))
      throw new Untranslatable(`${name}() is an aggregate here`);
    while (!isOperator(this.#peek(), ")")) {
      if (args.length > 0) this.#expect(",");
      args.push(this.expression(0));
    }
    this.#expect(")");
    if (isWord(this.#peek(), "FILTER", "OVER")) throw new Untranslatable(`${name}() is an aggregate here`);
    return { kind: "call", name: name.toLowerCase(), args };
  }

  #case(): Node {
    const base = isWord(this.#peek(), "WHEN") ? null : this.expression(0);
    const whens: [Node, Node][] = [];
    while (isWord(this.#peek(), "WHEN")) {
      this.#next();
      const when = this.expression(0);
      this.#expectWord("THEN");
      whens.push([when, this.expression(0)]);
    }
    const otherwise = this.#accept("ELSE") ? this.expression(0) : null;
    this.#expectWord("END");
    return { kind: "case", base, whens, otherwise };
  }

  #cast(): Node {
    this.#expect("(");
    const operand = this.expression(0);
    this.#expectWord("AS");
    const words: string[] = [];
    while (!isOperator(this.#peek(), ")")) words.push(this.#next().text);
    this.#expect(")");
    return { kind: "cast", operand, type: words.join(" ") };
  }

  /** The operator that follows `left` and binds tighter than `above`; null when there is none. */
  #infix(left: Node, above: number): Node | null {
    const token = this.#peek();
    if (!token || (token.kind !== "operator" && token.kind !== "word")) return null;
    const operator = token.text.toUpperCase();
    if (operator === "COLLATE") {
      this.#next();
      return { kind: "collate", operand: left, collation: this.#next().value.toUpperCase() };
    }
    const level = LEVELS[operator];
    if (level === undefined) return above < EQUALITY_LEVEL ? this.#comparison(left) : null;
    if (level <= above) return null;
    this.#next();
    if (operator === "IS") return this.#is(left);
    return { kind: "binary", operator, left, right: this.expression(level) };
  }

  #is(left: Node): Node {
    const not = this.#accept("NOT");
    // IS [NOT] DISTINCT FROM is the opposite of IS [NOT].
    const distinct = isWord(this.#peek(), "DISTINCT") && isWord(this.list[this.#at + 1], "FROM");
    if (distinct) this.#at += 2;
    return {
      kind: "binary",
      operator: not !== distinct ? "IS NOT" : "IS",
      left,
      right: this.expression(EQUALITY_LEVEL),
    };
  }

  /** The comparisons that are words; null when `left` is not followed by one. */
  #comparison(left: Node): Node | null {
    const start = this.#at;
    const not = this.#accept("NOT");
    const token = this.#peek();
    this.#at++;
    if (isWord(token, "ISNULL") && !not) return { kind: "unary", operator: "IS NULL", operand: left };
    if (isWord(token, "NOTNULL") && !not) return { kind: "unary", operator: "NOT NULL", operand: left };
    if (isWord(token, "NULL") && not) return { kind: "unary", operator: "NOT NULL", operand: left };
    if (isWord(token, "BETWEEN")) {
      const low = this.expression(EQUALITY_LEVEL);
      this.#expectWord("AND");
      return { kind: "between", not, operand: left, low, high: this.expression(EQUALITY_LEVEL) };
    }
    if (isWord(token, "IN")) return { kind: "in", not, operand: left, list: this.#inList() };
    if (isWord(token, "LIKE", "GLOB", "REGEXP", "MATCH")) {
      const operator = token?.text.toUpperCase() ?? "";
      const pattern = this.expression(EQUALITY_LEVEL);
      const escaped = this.#accept("ESCAPE") ? this.expression(EQUALITY_LEVEL) : null;
      return { kind: "like", operator, not, operand: left, pattern, escape: escaped };
    }
    this.#at = start;
    return null;
  }

  #inList(): Node[] {
    this.#expect("(");
    const list: Node[] = [];
    while (!isOperator(this.#peek(), ")")) {
      if (list.length > 0) this.#expect(",");
      list.push(this.expression(0));
    }
    this.#expect(")");
    return list;
  }

  #peek(): Token | undefined {
    return this.list[this.#at];
  }

  #accept(word: string): boolean {
    const accepted = isWord(this.#peek(), word);
    if (accepted) this.#at++;
    return accepted;
  }

  #next(): Token {
    const token = this.list[this.#at++];
    if (!token) throw new Untranslatable("it ends too early");
    return token;
  }

  #expect(operator: string): void {
    const token = this.#next();
    if (!isOperator(token, operator)) throw new Untranslatable(`"${token.text}" is not understood here`);
  }

  #expectWord(word: string): void {
    const token = this.#next();
    if (!isWord(token, word)) throw new Untranslatable(`"${token.text}" is not understood here`);
  }
}

const INTEGER_MAX = 2n ** 63n - 1n;

/** SQLite reads an integer beyond 64 bits as a REAL, and a hexadecimal one as a signed 64-bit integer. */
function numberLiteral(text: string): Node {
  const digits = text.replaceAll("_", "");
  if (/^0x/i.test(digits))
    return { kind: "literal", of: "integer", value: BigInt.asIntN(64, BigInt(digits)).toString() };
  if (!/^\d+$/.test(digits)) return { kind: "literal", of: "real", value: digits };
  const value = BigInt(digits);
  return value > INTEGER_MAX
    ? { kind: "literal", of: "real", value: `${digits}.0` }
    : { kind: "literal", of: "integer", value: value.toString() };
}
