// Prepared statements that are run for every window. Preparing one takes several times as long as running it.
// SQLite prepares a statement again by itself when the schema changes, so that a kept one is never out of date.
import type Database from "better-sqlite3";

/** Per connection. Texts that name the ranges copied so far change during a backfill, and each is used only a few times. */
const KEPT = 200;

const kept = new WeakMap<Database.Database, Map<string, Database.Statement<unknown[]>>>();

/** A statement that returns rows as arrays, integers as bigint. It must not run while an earlier run is being iterated. */
export function preparedRows(db: Database.Database, text: string): Database.Statement<unknown[]> {
  return keep(db, `rows ${text}`, () => db.prepare<unknown[]>(text).raw().safeIntegers());
}

/** A statement that returns the first column of its only row. */
export function preparedValue(db: Database.Database, text: string): Database.Statement<unknown[]> {
  return keep(db, `value ${text}`, () => db.prepare<unknown[]>(text).pluck().safeIntegers());
}

function keep(
  db: Database.Database,
  name: string,
  prepare: () => Database.Statement<unknown[]>,
): Database.Statement<unknown[]> {
  let statements = kept.get(db);
  if (!statements) {
    statements = new Map();
    kept.set(db, statements);
  }
  const known = statements.get(name);
  if (known) return known;
  const [oldest] = statements.keys();
  if (oldest !== undefined && statements.size >= KEPT) statements.delete(oldest);
  const statement = prepare();
  statements.set(name, statement);
  return statement;
}
