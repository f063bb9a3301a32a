// One environment variable, or the file that its NAME_FILE variant names, as container platforms pass
// secrets. It owns that rule alone; its callers define the variables.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { EnvironmentLookup, Report } from "./file.js";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads NAME or the file at NAME_FILE; an empty value counts as not set. Files are relative to `cwd`. */
export function lookupIn(env: Environment, cwd: string, report: Report): EnvironmentLookup {
  return (name) => {
    const value = env[name] || undefined;
    const file = env[`${name}_FILE`] || undefined;
    if (file === undefined) return value;
    if (value !== undefined) {
      report(name, `set together with ${name}_FILE, received ${JSON.stringify(file)}; set one of them`);
      return value;
    }
    return secretFile(file, `${name}_FILE`, cwd, report);
  };
}

/** A file's text without the line end that editors add; undefined, and reported, when there is none. */
export function secretFile(file: string, path: string, folder: string, report: Report): string | undefined {
  try {
    const text = readFileSync(resolve(folder, file), "utf8").replace(/\r?\n$/, "");
    if (text !== "") return text;
    report(path, `the file is empty, received ${JSON.stringify(file)}`);
  } catch (error) {
    report(path, `the file cannot be read (${reason(error)}), received ${JSON.stringify(file)}`);
  }
  return undefined;
}

/** The code of a file system error; its message would repeat the path. */
export function reason(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
