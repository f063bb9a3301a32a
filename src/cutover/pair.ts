// The pair: a SQLite file and the PostgreSQL database that it belongs to. The file records the database's id and
// place. Every command that opens both stores compares first, and refuses what belongs to another pair.
import type pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import { type DatabaseIdentity, readDatabaseIdentity, recordedAs } from "../postgres/pair.js";
import { at } from "../present.js";
import { openSqlite, sqliteError } from "../sqlite/connection.js";
import { type IdentityRecord, type RecordedPair, readIdentityRecord } from "../sqlite/pair.js";

interface PairedSource {
  readonly name: string;
  readonly sqlite: string;
}

/**
 * Why a file does not belong to this database, or null when it does, or is new. `known`: the database records this
 * file, which is enough for a file that an earlier version installed into.
 */
function strangeness(file: IdentityRecord, here: DatabaseIdentity, known: boolean): string | null {
  const { pair } = file;
  if (pair === null) {
    if (file.identity === null || known) return null;
    return `it belongs to another database than ${here.address}, as an earlier version recorded`;
  }
  if (pair.id !== here.id && pair.place !== null && pair.place === here.place)
    return `it belongs to an earlier installation of switchback in the database ${here.address}`;
  if (pair.id !== here.id) return `it belongs to the database ${pair.address}, not to ${here.address}`;
  if (pair.place === null || here.place === null || pair.place === here.place) return null;
  // A database that was dropped and restored on the same server has another oid, and takes the other one's place.
  if (systemOf(pair.place) === systemOf(here.place) && !here.siblings.includes(pair.place)) return null;
  return `it belongs to the database ${pair.address}; ${here.address} is a copy of that`;
}

export interface Strange {
  readonly source: PairedSource;
  readonly why: string;
}

/** Those of the sources that do not belong to this database. */
export async function strangers(
  client: pg.ClientBase,
  postgres: PostgresConfig,
  sources: readonly PairedSource[],
): Promise<{ here: DatabaseIdentity; strange: Strange[] }> {
  const here = await readDatabaseIdentity(client, postgres);
  const strange: Strange[] = [];
  for (const source of sources) {
    const file = recordOf(source);
    const names = file.identity === null ? [] : await recordedAs(client, file.identity);
    const why = strangeness(file, here, names.includes(source.name)) ?? renamed(source, names);
    if (why !== null) strange.push({ source, why });
  }
  return { here, strange };
}

/** @throws SwitchbackError SOURCE_FOREIGN */
export async function assertPairs(
  client: pg.ClientBase,
  postgres: PostgresConfig,
  sources: readonly PairedSource[],
): Promise<void> {
  const [first] = (await strangers(client, postgres, sources)).strange;
  if (first) throw foreign(first);
}

export function foreign({ source: { name, sqlite }, why }: Strange): SwitchbackError {
  return new SwitchbackError("SOURCE_FOREIGN", `${sqlite}: ${why}`, { source: name, file: sqlite });
}

/** What a file that belongs here records. */
export function pairOf({ id, place, address }: DatabaseIdentity): RecordedPair {
  if (id === null) throw new Error("switchback is not installed in this database");
  return { id, place, address };
}

function renamed({ name }: PairedSource, names: readonly string[]): string | null {
  if (names.length === 0 || names.includes(name)) return null;
  return `this database follows it as source ${names.join(", ")}, not as ${name}`;
}

function recordOf({ name, sqlite }: PairedSource): IdentityRecord {
  const db = openSqlite(sqlite, { readonly: true });
  try {
    return readIdentityRecord(db);
  } catch (error) {
    throw sqliteError(error, { source: name, file: sqlite });
  } finally {
    db.close();
  }
}

function systemOf(place: string): string {
  return at(place.split("/", 1), 0, "system identifier");
}
