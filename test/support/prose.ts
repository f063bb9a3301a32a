// Prose in code as data: comments, messages, help texts and the titles of tests, each with its line. Also the rules
// for it that documents and code share: the length of a sentence, and the words that are out.
import ts from "typescript";

/** A paragraph of a comment, or a message. */
export interface Passage {
  readonly line: number;
  readonly kind: "comment" | "message";
  /** One line; code in backquotes and inserted values are one word each. */
  readonly text: string;
}

/** A sentence has at most this many words. */
export const LONGEST = 30;

/** Old words and idioms of a private language; each has a plain term. */
export const UNPLAIN =
  /\b(whoever|nobody|somebody|anew|mend(s|ed|ing)?|(com(e|es|ing)|came|go(es)?|went) home|way (back|home)|shall|unawares|doors?|at once|go(es)? on|(is|are|be|was|were|been) looked at)\b/i;

/** Code in backquotes counts as one word, an address or a path as well. */
function plain(text: string): string {
  return text
    .replaceAll(/`[^`\n]+`/g, "code")
    .replaceAll(/\{@\w+ [^}]+\}/g, "code")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** Marks that begin a line of a comment: `//`, `/**`, `*`, `--`. */
const MARKS = /^\s*(?:\/\/+|\/\*+|\*(?!\/)|--)?\s?/;
/** A line that begins a paragraph of its own: an item of a list, a line of a table or of code. */
const ITEM = /^(?:[-·•|]|\d+\.|@|I\d+\b|[a-z]\)|\s{2,}\S)/;

/** The paragraphs of adjoining comment lines, each with its first line. */
function paragraphs(lines: readonly (readonly [number, string])[]): Passage[] {
  const found: { line: number; words: string[] }[] = [];
  let open = false;
  for (const [line, raw] of lines) {
    const text = raw.replace(/\*\/\s*$/, "").replace(MARKS, "");
    if (text.trim() === "" || /^-{4,}/.test(text.trim())) open = false;
    else if (!open || ITEM.test(text)) {
      found.push({ line, words: [text] });
      open = true;
    } else found.at(-1)?.words.push(text);
  }
  return found.map(({ line, words }) => ({ line, kind: "comment", text: plain(words.join(" ")) }));
}

/** Comments on adjoining lines that begin in the same column are one. */
function joined(
  ranges: readonly { readonly line: number; readonly column: number; readonly text: string }[],
) {
  const blocks: (readonly [number, string])[][] = [];
  let last = { line: -1, column: -1 };
  for (const { line, column, text } of ranges) {
    const lines = text.split("\n").map((one, i) => [line + i, one] as const);
    const follows = text.startsWith("//") && last.line === line - 1 && last.column === column;
    if (follows) blocks.at(-1)?.push(...lines);
    else blocks.push(lines);
    last = { line: line + lines.length - 1, column: text.startsWith("//") ? column : -1 };
  }
  return blocks.flatMap(paragraphs);
}

/** The text of a literal or of literals joined with `+`; null for anything else. */
function literal(node: ts.Node): string | null {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map((span) => `code${span.literal.text}`).join("");
  if (ts.isParenthesizedExpression(node)) return literal(node.expression);
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [literal(node.left), literal(node.right)];
    return left === null && right === null ? null : `${left ?? "code"}${right ?? "code"}`;
  }
  return null;
}

const STATEMENT =
  /^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|BEGIN|SET|PRAGMA|GRANT|REVOKE|LOCK|TRUNCATE|VALUES|COPY|FROM|WHERE|ORDER|RETURNING|DO|RAISE)\b|::\w+|\bIS (?:NOT )?NULL\b|\b(?:FROM|WHERE|JOIN|DEFAULT|REFERENCES|RAISE) \S/;

/** A list of names to be split at its blanks. */
const NAMES = /^[\w\s]{160,}$/;

/** Words for a reader, and no statement, path, key, pattern or list of names. */
function isMessage(text: string): boolean {
  return /[a-z]{2,} (?:\S+ )+\S*[a-z]/.test(text) && !STATEMENT.test(text) && !NAMES.test(text);
}

/** The passages of a TypeScript or JavaScript file. */
export function passages(path: string, text: string): Passage[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const ranges = new Map<number, { line: number; column: number; text: string }>();
  const messages: Passage[] = [];
  const note = (found: readonly ts.CommentRange[] | undefined) => {
    for (const { pos, end } of found ?? []) {
      const { line, character } = file.getLineAndCharacterOfPosition(pos);
      ranges.set(pos, { line: line + 1, column: character, text: text.slice(pos, end) });
    }
  };
  const visit = (node: ts.Node, inside: boolean): void => {
    note(ts.getLeadingCommentRanges(text, node.pos));
    note(ts.getTrailingCommentRanges(text, node.end));
    const words = inside ? null : literal(node);
    if (words !== null && isMessage(words)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      for (const paragraph of words.split(/\n\s*\n|\n(?=\s*[-\d]|\s{2,}|[A-Z]+ +\/)/))
        messages.push({ line: line + 1, kind: "message", text: plain(paragraph) });
    }
    // Every token, for the comments before it; the parts of a literal belong to the literal.
    for (const child of node.getChildren(file))
      visit(child, (inside || words !== null) && !ts.isTemplateSpan(node));
  };
  visit(file, false);
  const comments = joined([...ranges.values()].sort((a, b) => a.line - b.line || a.column - b.column));
  return [...comments, ...messages].sort((a, b) => a.line - b.line);
}

/** The comments of a file of statements. */
export function sqlPassages(text: string): Passage[] {
  const ranges = text.split("\n").flatMap((line, i) => {
    const column = line.search(/--/);
    return column < 0 ? [] : [{ line: i + 1, column, text: `//${line.slice(column + 2)}` }];
  });
  return joined(ranges);
}

/** Roughly: up to a full stop, a question mark or an exclamation mark that ends a word. */
export function split(text: string): string[] {
  return text.split(/(?<=[.?!][*)"]*)\s+/);
}
