// Upgrades switchback's records in a SQLite file to the version that this program knows, and reports their
// version.
import type Database from "better-sqlite3";
import { LOG_MIGRATION, latestOf, pendingOf } from "../migrations.js";

/** The number of the last migration applied to this file; 0 where switchback is not installed. */
export function sqliteRecordsVersion(db: Database.Database): number {
  const tables = db
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('_switchback_identity', '_switchback_migration')",
    )
    .pluck()
    .all() as string[];
  if (tables.includes("_switchback_migration"))
    return Number(db.prepare("SELECT max(number) FROM _switchback_migration").pluck().get());
  return tables.includes("_switchback_identity") ? 1 : 0;
}

/** True when nothing is pending. */
export function isCurrent(db: Database.Database): boolean {
  return sqliteRecordsVersion(db) === latestOf("sqlite");
}

/**
 * Applies the pending migrations. Run inside a write transaction.
 * @throws SwitchbackError RECORDS_NEWER
 */
export function migrateSqlite(db: Database.Database): void {
  for (const { number, name, sql: text } of pendingOf("sqlite", sqliteRecordsVersion(db), db.name)) {
    db.exec(text);
    if (number <= LOG_MIGRATION) continue;
    db.prepare("INSERT INTO _switchback_migration VALUES (?, ?)").run(number, name);
  }
}
