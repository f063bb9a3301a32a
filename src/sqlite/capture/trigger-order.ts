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

/** The triggers of a file. A file has many, and each flip asks for every captured table within its pause. */
class TriggerOrder {
  private readonly ours = new Map<string, Placed>();
  private readonly others = new Map<string, Placed[]>();

  constructor(db: Database.Database) {
    for (const trigger of placed(db)) {
      if (trigger.name.startsWith("_switchback_")) this.ours.set(trigger.name, trigger);
      else this.others.set(trigger.table, [...(this.others.get(trigger.table) ?? []), trigger]);
    }
  }

  /** Our insert trigger of that number, and the others that run before it; null where ours is missing. */
  before(id: number): { readonly mine: Placed; readonly others: readonly Placed[] } | null {
    const mine = this.ours.get(insertTrigger(id));
    if (!mine) return null;
    const others = this.others.get(mine.table) ?? [];
    return { mine, others: others.filter(({ sql, place }) => place > mine.place && runsAfterInsert(sql)) };
  }

  /** The numbers of the tables whose insert trigger is there. */
  get captured(): number[] {
    return [...this.ours.keys()].flatMap((name) => {
      const id = /^_switchback_(\d+)_insert$/.exec(name)?.[1];
      return id === undefined ? [] : [Number(id)];
    });
  }
}

/** The numbers of captured tables with other triggers before ours on insert. */
export function outranked(db: Database.Database, ids: Iterable<number>): Set<number> {
  const order = new TriggerOrder(db);
  return new Set([...ids].filter((id) => (order.before(id)?.others.length ?? 0) > 0));
}

/** Those among them where a trigger may have hidden a row from ours. */
export function silenced(db: Database.Database, ids: Iterable<number>): Set<number> {
  const order = new TriggerOrder(db);
  const raises = ({ sql }: Placed) =>
    tokens(sql).some((token, i, list) => isWord(token, "RAISE") && isWord(list[i + 2], "IGNORE", "FAIL"));
  return new Set([...ids].filter((id) => order.before(id)?.others.some(raises)));
}

/** Moves our insert triggers above the others, unchanged. The caller holds a write transaction. */
export function putOnTop(db: Database.Database): void {
  const order = new TriggerOrder(db);
  for (const id of order.captured) {
    const found = order.before(id);
    if (!found || found.others.length === 0) continue;
    db.exec(`DROP TRIGGER ${quote(found.mine.name)}`);
    db.exec(found.mine.sql);
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
