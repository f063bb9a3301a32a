// How a name and a literal are spelled in PostgreSQL. A name keeps SQLite's spelling exactly wherever
// PostgreSQL can hold it. Elsewhere the replacement depends on the name alone, so that every run and every
// release gives the same one. It knows no schema.
import { createHash } from "node:crypto";

/** PostgreSQL silently truncates identifiers at this length. */
const NAME_BYTES_MAX = 63;
const HASH_DIGITS = 8;
const SYSTEM_COLUMNS = new Set(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"]);

/** The name that a SQLite table or column has in PostgreSQL, unless the configuration says otherwise. */
export function defaultTargetName(name: string): string {
  // PostgreSQL has no empty identifiers, no NUL in them, and every table already owns its system columns.
  const legal = name === "" || SYSTEM_COLUMNS.has(name) ? `${name}_` : name.replaceAll("\0", "_");
  return Buffer.byteLength(legal) <= NAME_BYTES_MAX ? legal : shortened(legal);
}

/** A name of valid length that ends in a hash of the full name. */
function shortened(name: string): string {
  const hash = createHash("sha256").update(name).digest("hex").slice(0, HASH_DIGITS);
  let prefix = "";
  for (const character of name) {
    if (Buffer.byteLength(prefix + character) > NAME_BYTES_MAX - HASH_DIGITS - 1) break;
    prefix += character;
  }
  return `${prefix}_${hash}`;
}

/**
 * Gives out names that are unique within one schema: tables, indexes and sequences share one namespace in
 * PostgreSQL.
 */
export class Names {
  readonly #taken = new Set<string>();

  /** The wanted name where it is free; otherwise one that says what it belongs to by a hash of `owner`. */
  take(wanted: string, owner: string): string {
    let name = defaultTargetName(wanted);
    for (let attempt = 0; this.#taken.has(name); attempt++) {
      const hash = createHash("sha256").update(`${owner}\0${wanted}\0${attempt}`).digest("hex");
      name = defaultTargetName(`${wanted}_${hash.slice(0, HASH_DIGITS)}`);
    }
    this.#taken.add(name);
    return name;
  }
}

/** A string literal that means the same with standard_conforming_strings on or off. */
export function literal(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted;
}
