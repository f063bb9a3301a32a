// Comments, messages, help texts and the titles of tests are plain technical English: short sentences, no words of a
// private language, and no file named that does not exist.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/pages.js";
import { LONGEST, type Passage, passages, split, sqlPassages, UNPLAIN } from "../support/prose.js";

/** The folders and files that are held to the rules. */
const HELD = ["src", "sql", "test"];
/** Dumps of an earlier version, and files whose long strings are data. */
const DATA =
  /^test\/(upgrade\/.*\.sql|bench\/orders\.js|schema\/sqlite-schema\.unit\.test\.ts|support\/errors-page\.js)$/;

/** Every file under a folder, or the file itself, as paths from the root with slashes. */
function filesIn(path: string): string[] {
  if (statSync(join(ROOT, path)).isFile()) return [path];
  return readdirSync(join(ROOT, path)).flatMap((name) => filesIn(`${path}/${name}`));
}

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const prose = HELD.flatMap(filesIn)
  .filter((path) => /\.(ts|js|sql)$/.test(path) && !DATA.test(path))
  .map(
    (path) => [path, path.endsWith(".sql") ? sqlPassages(read(path)) : passages(path, read(path))] as const,
  );

/** `file:line: text` for every passage in which `find` finds something. */
const found = (find: (passage: Passage) => readonly string[]): string[] =>
  prose.flatMap(([path, all]) =>
    all.flatMap((passage) => find(passage).map((text) => `${path}:${passage.line}: ${text}`)),
  );

test("the passages of a file are its comments and messages", () => {
  const file = [
    "// One paragraph",
    "// on two lines.",
    "/**",
    " * Another. `a b c` is one word.",
    " */",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is the file that is read
    'throw new Error(`what ${x + "no"} is ` + "said");',
    'query("SELECT a FROM b");',
  ].join("\n");
  expect(passages("a.ts", file)).toEqual([
    { line: 1, kind: "comment", text: "One paragraph on two lines." },
    { line: 4, kind: "comment", text: "Another. code is one word." },
    { line: 6, kind: "message", text: "what code is said" },
  ]);
  expect(sqlPassages("SELECT 1 -- a\n       -- b\n")).toHaveLength(2);
});

test(`no sentence in a comment or a message has more than ${LONGEST} words`, () => {
  const long = found(({ text }) => split(text).filter((sentence) => sentence.split(/\s+/).length > LONGEST));
  expect(long).toEqual([]);
});

test("comments and messages use plain words", () => {
  expect(found(({ text }) => (UNPLAIN.test(text) ? [text.slice(0, 160)] : []))).toEqual([]);
});

test("a file that a comment names exists", () => {
  const names = new Set(["src", "sql", "test"].flatMap(filesIn).map((path) => basename(path)));
  const named = found(({ kind, text }) =>
    kind === "comment"
      ? (text.match(/[\w./-]+\.(?:ts|sql)\b/g) ?? []).filter((name) => !names.has(basename(name)))
      : [],
  );
  expect(named).toEqual([]);
});
