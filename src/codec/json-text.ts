// JSON text as jsonb prints it. It reads strictly (RFC 8259) and never through JavaScript's numbers, so no
// digit is lost. It owns jsonb's limits and knows no codecs.
//
// When a name occurs twice in an object, jsonb keeps the last member, as JavaScript and Python do. Numbers
// keep their value and the digits after the decimal point: 1e2 is 100, 1.50 stays 1.50.
import { asNumericPrints } from "./decimal-text.js";

/** The nesting limit of SQLite's JSON functions; PostgreSQL's stack is limited as well. */
const DEPTH_MAX = 1_000;
/** A jsonb's parts are limited to 2^28 bytes. */
const LENGTH_MAX = 200_000_000;

/** Why a text is not JSON that jsonb holds. */
export class JsonFault {
  constructor(readonly why: string) {}
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
/** Whole numbers with far fewer digits than numeric's limit print as they are. */
const PLAIN_NUMBER = /^(?:0|-?[1-9]\d{0,99})$/;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** The text that PostgreSQL prints for the JSON text `source` read as jsonb. */
export function asJsonbPrints(source: string): string | JsonFault {
  if (source.length > LENGTH_MAX) return new JsonFault("is too long for jsonb");
  try {
    return new Reader(source).document();
  } catch (error) {
    if (error instanceof Stop) return new JsonFault(error.message);
    throw error;
  }
}

/** True when the text is valid JSON that PostgreSQL's json type takes too. */
export function jsonFault(source: string): JsonFault | null {
  const printed = asJsonbPrints(source);
  return printed instanceof JsonFault ? printed : null;
}

class Stop extends Error {}

class Reader {
  private at = 0;

  constructor(private readonly source: string) {}

  document(): string {
    const value = this.value(0);
    this.space();
    if (this.at < this.source.length) throw new Stop("has more after the JSON value");
    return value;
  }

  private value(depth: number): string {
    if (depth > DEPTH_MAX) throw new Stop(`is nested deeper than ${DEPTH_MAX}`);
    this.space();
    const first = this.source[this.at];
    if (first === '"') return jsonString(this.string());
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    const word = first === "t" ? "true" : first === "f" ? "false" : first === "n" ? "null" : null;
    if (word !== null && this.source.startsWith(word, this.at)) {
      this.at += word.length;
      return word;
    }
    return this.number();
  }

  private object(depth: number): string {
    const members = new Map<string, string>();
    this.items("}", () => {
      const name = this.string();
      this.space();
      this.expect(":");
      members.set(name, this.value(depth + 1));
    });
    const names = [...members.keys()];
    if (names.length > 1) names.sort(inJsonbOrder);
    return `{${names.map((name) => `${jsonString(name)}: ${members.get(name)}`).join(", ")}}`;
  }

  private array(depth: number): string {
    const values: string[] = [];
    this.items("]", () => values.push(this.value(depth + 1)));
    return `[${values.join(", ")}]`;
  }

  /** Calls `read` for every item up to the closing bracket, and reads the commas itself. */
  private items(close: string, read: () => void): void {
    this.at++;
    this.space();
    if (this.source[this.at] !== close) {
      read();
      this.space();
      while (this.source[this.at] === ",") {
        this.at++;
        this.space();
        read();
        this.space();
      }
    }
    this.expect(close);
  }

  private string(): string {
    if (this.source[this.at] !== '"') throw this.unexpected();
    const start = ++this.at;
    let escaped = false;
    // Not a regular expression: a string of megabytes would exhaust the matcher's stack.
    for (; this.at < this.source.length; this.at++) {
      const code = this.source.charCodeAt(this.at);
      if (code === QUOTE) {
        const inside = this.source.slice(start, this.at++);
        return escaped ? unescaped(inside) : inside;
      }
      if (code < 0x20) throw this.unexpected();
      if (code === BACKSLASH) {
        escaped = true;
        this.at++;
      }
    }
    throw this.unexpected();
  }

  private number(): string {
    NUMBER.lastIndex = this.at;
    const literal = NUMBER.exec(this.source)?.[0];
    if (literal === undefined) throw this.unexpected();
    this.at += literal.length;
    if (PLAIN_NUMBER.test(literal)) return literal;
    const printed = asNumericPrints(literal);
    if (printed === null) throw new Stop("holds a number beyond PostgreSQL's numeric");
    return printed;
  }

  private space(): void {
    while (SPACES.has(this.source.charCodeAt(this.at))) this.at++;
  }

  private expect(character: string): void {
    if (this.source[this.at] !== character) throw this.unexpected();
    this.at++;
  }

  private unexpected(): Stop {
    return new Stop(
      this.at < this.source.length ? `is not JSON at character ${this.at + 1}` : "ends before its JSON does",
    );
  }
}

function unescaped(inside: string): string {
  let text: string;
  try {
    // JavaScript reads exactly the escapes of RFC 8259.
    text = JSON.parse(`"${inside}"`) as string;
  } catch {
    throw new Stop("holds an escape that JSON does not know");
  }
  if (text.includes("\0")) throw new Stop("holds \\u0000, which jsonb cannot");
  if (LONE_SURROGATE.test(text)) throw new Stop("holds half of a surrogate pair");
  return text;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a NUL never gets here
const ASCII = /^[\u0000-\u007f]*$/;

/** jsonb sorts members by the length of their names in bytes, then by the bytes. */
function inJsonbOrder(a: string, b: string): number {
  if (ASCII.test(a) && ASCII.test(b)) return a.length - b.length || (a < b ? -1 : 1);
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length - right.length || Buffer.compare(left, right);
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that JSON must escape
const MUST_ESCAPE = /["\\\u0000-\u001f]/;
const MUST_ESCAPE_ALL = new RegExp(MUST_ESCAPE, "g");

/** A string as PostgreSQL prints it: only the required characters are escaped. */
export function jsonString(text: string): string {
  return MUST_ESCAPE.test(text) ? `"${text.replace(MUST_ESCAPE_ALL, escaped)}"` : `"${text}"`;
}

function escaped(character: string): string {
  return ESCAPES[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The same JSON without the blanks that jsonb prints after colons and commas. */
export function compacted(printed: string): string {
  return printed.replace(
    /("(?:[^"\\]|\\.)*")|([:,]) /g,
    (_, text?: string, mark?: string) => text ?? mark ?? "",
  );
}
