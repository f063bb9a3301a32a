// The order in which SQLite runs the triggers of one event: the newest first. A trigger that runs before ours
// after an INSERT may end the statement and keep the row (RAISE IGNORE or FAIL, or a constraint of its own
// under OR FAIL). Then ours never runs. So ours must be the newest of its kind. TEMP triggers are out of
// reach.
import type Database from "better-sqlite3";
import { quote } from "../../schema/model.js";
import { isOperator, isWord, tokens } from "../../schema/sqlite-tokens.js";
import { insertTrigger } from "./triggers.js";

interface Placed {
  readonly name: string;
  readonly table: string;
  readonly sql: string;
  readonly place: bigint | number;
}

/** The other triggers that run before ours of that number; none where ours is missing. */
function before(all: readonly Placed[], id: number): Placed[] {
  const mine = all.find(({ name }) => name === insertTrigger(id));
  if (!mine) return [];
  return all.filter(
    ({ name, table, sql, place }) =>
      place > mine.place && table === mine.table && !name.startsWith("_switchback_") && runsAfterInsert(sql),
  );
}

/** The numbers of captured tables with other triggers before ours on insert. */
export function outranked(db: Database.Database, ids: Iterable<number>): Set<number> {
  const all = placed(db);
  return new Set([...ids].filter((id) => before(all, id).length > 0));
}

/** Those among them where a trigger may have hidden a row from ours. */
export function silenced(db: Database.Database, ids: Iterable<number>): Set<number> {
  const all = placed(db);
  const raises = ({ sql }: Placed) =>
    tokens(sql).some((token, i, list) => isWord(token, "RAISE") && isWord(list[i + 2], "IGNORE", "FAIL"));
  return new Set([...ids].filter((id) => before(all, id).some(raises)));
}

/** Moves our insert triggers above the others, unchanged. The caller holds a write transaction. */
export function putOnTop(db: Database.Database): void {
  const all = placed(db);
  for (const { name, sql } of all) {
    const id = Number(/^_switchback_(\d+)_insert$/.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(id) || before(all, id).length === 0) continue;
    db.exec(`DROP TRIGGER ${quote(name)}`);
    db.exec(sql);
  }
}

function placed(db: Database.Database): Placed[] {
  return db
    .prepare(
      "SELECT name, lower(tbl_name) AS \"table\", sql, rowid AS place FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid",
    )
    .all() as Placed[];
}

function runsAfterInsert(sql: string): boolean {
  const list = tokens(sql);
  let at = list.findIndex((token) => isWord(token, "TRIGGER")) + 1;
  if (isWord(list[at], "IF")) at += 3;
  at += isOperator(list[at + 1], ".") ? 3 : 1;
  return isWord(list[at], "AFTER") && isWord(list[at + 1], "INSERT");
}
