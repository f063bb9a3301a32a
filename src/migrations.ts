// The numbered migrations of switchback's own records, in both stores: sql/postgres/migrations and
// sql/sqlite/migrations. Each runs once, in order, under the sidecar's lock at its start. The files are never edited
// after a release; a change of the records is a new file. The stores' own migrate.ts run them.
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SwitchbackError } from "./errors.js";
import { sql } from "./sql-files.js";

type MigratedStore = "postgres" | "sqlite";

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
}

const loaded = new Map<MigratedStore, readonly Migration[]>();

/** Every migration of a store, in the order of their numbers: 1, 2, 3 … without a gap. */
export function migrationsOf(store: MigratedStore): readonly Migration[] {
  let migrations = loaded.get(store);
  if (!migrations) {
    const folder = fileURLToPath(new URL(`../sql/${store}/migrations`, import.meta.url));
    migrations = readdirSync(folder)
      .filter((file) => file.endsWith(".sql"))
      .sort()
      .map((file, i) => numbered(store, file, i + 1));
    loaded.set(store, migrations);
  }
  return migrations;
}

function numbered(store: MigratedStore, file: string, expected: number): Migration {
  const [, digits, name] = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file) ?? [];
  if (digits === undefined || name === undefined || Number(digits) !== expected) {
    throw new Error(`sql/${store}/migrations/${file}: the migration numbered ${expected} was expected here`);
  }
  return { number: expected, name, sql: sql(`${store}/migrations/${digits}_${name}`) };
}

/** The migration that creates the log of migrations, and records itself and the previous ones there. */
export const LOG_MIGRATION = 2;

/** The number of the newest migration that this program knows. */
export function latestOf(store: MigratedStore): number {
  return migrationsOf(store).length;
}

/**
 * The migrations that are missing from records of this version.
 * @throws SwitchbackError RECORDS_NEWER
 */
export function pendingOf(store: MigratedStore, version: number, where: string): readonly Migration[] {
  const latest = latestOf(store);
  if (version > latest) {
    throw new SwitchbackError(
      "RECORDS_NEWER",
      `the records in ${where} are at migration ${version}, and this program knows migrations up to ${latest}`,
    );
  }
  return migrationsOf(store).slice(version);
}
