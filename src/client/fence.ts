// Recognises a fence: the error of a store that refuses writes because they go to the other one. Drivers, query
// builders and ORMs report it in many forms: with the SQL before the message, or as a cause of another error. It
// knows the fence's words and codes and where those libraries keep the driver's error, and needs none of them.
import type { StoreName } from "./errors.js";

export interface Fence {
  /** The store that has the writes, by the fence that refused: the other one than the store that reported it. */
  readonly writes: StoreName;
  readonly epoch: number;
}

const WORDS = "switchback: writes (have moved to PostgreSQL|go to SQLite) \\(epoch (\\d{1,15})\\)";
/** Beside a fence's code. Before the words may be the SQL, which query builders add; only a hint may follow. */
const REPORTED = new RegExp(`(?:^|[^\\w])${WORDS}(?:[\\s\`'")\\].]*|\\s*(?:HINT|DETAIL): [^]*)$`);
/** Without a store's code, as when an error was copied: nothing but the words and the name of an error. */
const COPIED = new RegExp(`^(?:(?:\\w*[Ee]rror|SQLITE_\\w+): ){0,3}${WORDS}$`);

/** SQLite's extended code and its number, and the primary code, which is all that older drivers report. */
const SQLITE_CODES: readonly string[] = ["SQLITE_CONSTRAINT_TRIGGER", "1811", "SQLITE_CONSTRAINT", "19"];
const POSTGRES_CODES: readonly string[] = ["25006"];
/** A code of SQLite, an SQLSTATE, or a number. A library's own code (`ERR_SQLITE_ERROR`) says nothing. */
const STORE_CODE = /^(?:SQLITE_\w+|(?=.*\d)[0-9A-Z]{5}|-?\d+)$/;

const MESSAGES = ["message", "originalMessage"];
const CODES = [
  ...["code", "errcode", "errno", "originalCode"],
  ...["sqlState", "sqlstate", "extendedCode", "extendedErrorCode"],
];
/** Where libraries keep the error that they wrap. */
const WRAPPED = [
  ...["cause", "original", "parent", "previous", "driverError", "nativeError"],
  ...["innerError", "meta", "driverAdapterError"],
];

/** A bound for errors that name ever new ones. */
const DEPTH_MOST = 16;
const OBJECTS_MOST = 200;

/**
 * What a fence says, from an error of a driver or of a library around it; null for every other error. Never
 * throws. A duplicate key or another violated constraint is no fence, whatever its values are.
 */
export function fenceOf(error: unknown): Fence | null {
  const seen = new Set<object>();
  let layer: readonly unknown[] = [error];
  for (let depth = 0; depth <= DEPTH_MOST && layer.length > 0; depth += 1) {
    const deeper: unknown[] = [];
    for (const each of layer) {
      if (typeof each !== "object" || each === null || seen.has(each)) continue;
      if (seen.size >= OBJECTS_MOST) return null;
      seen.add(each);
      const fence = stated(each);
      if (fence !== null) return fence;
      deeper.push(...wrapped(each));
    }
    layer = deeper;
  }
  return null;
}

/** The fence that one object states in its own fields. */
function stated(error: object): Fence | null {
  const codes = CODES.map((name) => field(error, name))
    .filter((code) => typeof code === "string" || typeof code === "number")
    .map(String)
    .filter((code) => STORE_CODE.test(code));
  const pattern = codes.length > 0 ? REPORTED : COPIED;
  for (const name of MESSAGES) {
    const message = field(error, name);
    const [, words, epoch] = (typeof message === "string" && pattern.exec(message)) || [];
    if (words === undefined) continue;
    const writes = words.endsWith("SQLite") ? "sqlite" : "postgres";
    const expected = writes === "sqlite" ? POSTGRES_CODES : SQLITE_CODES;
    if (codes.length === 0 || codes.some((code) => expected.includes(code))) {
      return { writes, epoch: Number(epoch) };
    }
  }
  return null;
}

/** The errors that an error holds. */
function wrapped(error: object): unknown[] {
  const several = field(error, "errors");
  const one = WRAPPED.map((name) => field(error, name));
  return Array.isArray(several) ? [...one, ...several.slice(0, OBJECTS_MOST)] : one;
}

/** A field of an unknown object. The caller handles an error already, so a field that throws is as good as none. */
function field(object: object, name: string): unknown {
  try {
    return (object as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}
