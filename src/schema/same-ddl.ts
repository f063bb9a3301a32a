// Whether two CREATE TABLE statements differ in nothing but the names of renamed tables. SQLite writes a new name into
// the statement of the table itself and of those that refer to it.
import { type Token, tokens } from "./sqlite-tokens.js";

/** `renamed`: the new names by the old ones. */
export function sameButForNames(a: string, b: string, renamed: ReadonlyMap<string, string>): boolean {
  const [left, right] = [tokens(a), tokens(b)];
  return left.length === right.length && left.every((token, i) => sameToken(token, right[i], renamed));
}

function sameToken(a: Token, b: Token | undefined, renamed: ReadonlyMap<string, string>): boolean {
  if (!b) return false;
  if (a.text === b.text) return true;
  if (!isName(a) || !isName(b)) return false;
  const lower = a.value.toLowerCase();
  return [...renamed].some(([from, to]) => from.toLowerCase() === lower && to === b.value);
}

function isName({ kind }: Token): boolean {
  return kind === "word" || kind === "name" || kind === "string";
}
