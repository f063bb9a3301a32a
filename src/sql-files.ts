// Loads the statements under sql/ by name. Each file has one or several statements, with comments.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const loaded = new Map<string, string>();

/** The text of `sql/<name>.sql`, for example `sql("postgres/followed")`. Read once per process. */
export function sql(name: string): string {
  let text = loaded.get(name);
  if (text === undefined) {
    text = readFileSync(fileURLToPath(new URL(`../sql/${name}.sql`, import.meta.url)), "utf8");
    loaded.set(name, text);
  }
  return text;
}
