// The package's version, read once from package.json: for `--version`, /status and bug reports.
import { readFileSync } from "node:fs";

function read(): string {
  const parsed: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  if (
    typeof parsed === "object" &&
    parsed !== null &&
    "version" in parsed &&
    typeof parsed.version === "string"
  ) {
    return parsed.version;
  }
  return "unknown";
}

export const VERSION: string = read();
