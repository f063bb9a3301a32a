// SQLite's rules from a declared type to a column's affinity (https://sqlite.org/datatype3.html, section
// 3.1). The order of the rules matters: CHARINT is INTEGER, and so is FLOATING POINT. It knows nothing else.
import type { Affinity } from "./model.js";

const RULES: readonly (readonly [Affinity, RegExp])[] = [
  ["INTEGER", /INT/i],
  ["TEXT", /CHAR|CLOB|TEXT/i],
  ["BLOB", /BLOB|^$/i],
  ["REAL", /REAL|FLOA|DOUB/i],
];

/** In a STRICT table, ANY stores every value as it comes; elsewhere it is a type name like any other. */
export function affinityOf(declaredType: string, strict: boolean): Affinity {
  if (strict && declaredType.toUpperCase() === "ANY") return "BLOB";
  return RULES.find(([, pattern]) => pattern.test(declaredType))?.[0] ?? "NUMERIC";
}
