// The documents as data: pages, their code blocks, their prose, their links and anchors. It judges nothing.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { split } from "./prose.js";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Page {
  /** From the root, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Block {
  readonly language: string;
  readonly text: string;
}

/** README.md, CONTRIBUTING.md, CHANGELOG.md and everything under docs/. */
export function pages(): Page[] {
  const top = readdirSync(ROOT).filter((name) => name.endsWith(".md"));
  const docs = readdirSync(join(ROOT, "docs")).map((name) => `docs/${name}`);
  return [...top, ...docs].map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

const FENCE = /^```(\w*)\n([\s\S]*?)^```$/gm;

export function blocks({ text }: Page): Block[] {
  return [...text.matchAll(FENCE)].map(([, language = "", body = ""]) => ({ language, text: body }));
}

/** Every `inline code` outside code blocks. */
export function inlineCode({ text }: Page): string[] {
  const outside = text.replaceAll(FENCE, "");
  return [...outside.matchAll(/`` (.+?) ``|`([^`\n]+)`/g)].map(
    ([, double, single]) => double ?? single ?? "",
  );
}

/** Paragraphs and list items, without tables, headings, code blocks and comments; code and links are one word each. */
export function paragraphs({ text }: Page): string[] {
  return text
    .replaceAll(FENCE, "")
    .replaceAll(/<!--[\s\S]*?-->/g, "")
    .replaceAll(/^([|#].*)$/gm, "")
    .replaceAll(/^> ?/gm, "")
    .replaceAll(/^\s*([-*]|\d+\.) /gm, "\n")
    .replaceAll(/`[^`\n]+`/g, "code")
    .replaceAll(/\[([^\]]+)\]\([^)]+\)/g, "$1")
    .replaceAll(/[*_]{1,2}(\S)/g, "$1")
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replaceAll(/\s+/g, " ").trim())
    .filter((paragraph) => paragraph !== "");
}

export function sentences(page: Page): string[] {
  return paragraphs(page).flatMap(split);
}

/** A page's anchors, as GitHub makes them of its headings. */
export function anchors({ text }: Page): Set<string> {
  const headings = [...text.replaceAll(FENCE, "").matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** Relative links: the page that they lead to, from the root, and the anchor there. */
export function links({ path, text }: Page): { readonly page: string; readonly anchor: string }[] {
  return [...text.replaceAll(FENCE, "").matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = "", anchor = ""] = target.split("#", 2);
      const page = file === "" ? path : normalize(join(dirname(path), file)).replaceAll("\\", "/");
      return { page, anchor };
    });
}
