// The package's own version, read once from package.json: what `--version`, /status and bug reports print.
// It knows nothing else.
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
