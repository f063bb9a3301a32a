// Starting, restarting and leaving a table in the target. Each is one transaction that changes the table and
// switchback's record of it together, so that a crash finds both or neither.

import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema.js";
import type { Range } from "../store.js";
import type { Control, FollowedTable } from "./control.js";
import { targetName } from "./merge.js";
import type { TargetTable } from "./schema.js";
import { forgetForeignKeys, suspend } from "./suspended.js";

export interface Start {
  readonly source: string;
  readonly settings: string;
  readonly estimated: number;
  readonly ranges: readonly Range[];
}

/** How a table comes into the target: made now, found there empty, or adopted from the application's migrations. */
export type Arrival = "make" | "found" | "adopt";

/** A table that is new to the target. */
export async function startTable(
  control: Control,
  table: TargetTable,
  arrival: Arrival,
  start: Start,
): Promise<void> {
  const { mapping } = table;
  await control.transaction(async () => {
    if (arrival === "make") {
      await control.query(`CREATE SCHEMA IF NOT EXISTS ${quote(mapping.schema)}`);
      await control.query(table.create);
    }
    await control.begin(start.source, { ...start, mapping, made: arrival === "make" });
    if (arrival === "adopt") await suspend(control, start.source, [mapping]);
    await control.fence(mapping);
  });
}

/** The same table, copied anew: what its triggers missed, or what VACUUM renumbered, is unknown. */
export async function restartTable(
  control: Control,
  known: FollowedTable,
  mapping: TableMapping,
  start: Start,
): Promise<void> {
  await control.transaction(async () => {
    await control.query(`TRUNCATE ${targetName(mapping)}`);
    await control.begin(start.source, { ...start, mapping, made: known.made });
  });
}

/** A table of ours that changed its shape: columns are added where that is all, else it is made again. */
export async function reshapeTable(
  control: Control,
  known: FollowedTable,
  table: TargetTable,
  start: Start,
): Promise<void> {
  const { mapping } = table;
  const added = addedColumns(known.mapping, mapping);
  await control.transaction(async () => {
    if (added) {
      await control.query(`TRUNCATE ${targetName(mapping)}`);
      for (const column of table.columns.filter(({ name }) => added.includes(name))) {
        const generated =
          column.generated === null ? "" : ` GENERATED ALWAYS AS (${column.generated}) STORED`;
        await control.query(
          `ALTER TABLE ${targetName(mapping)} ADD COLUMN ${quote(column.name)} ${column.type}${generated}${column.notNull ? " NOT NULL" : ""}`,
        );
      }
    } else {
      await forgetForeignKeys(control, start.source, known.name);
      await control.query(`DROP TABLE ${targetName(known.mapping)}`);
      await control.query(`CREATE SCHEMA IF NOT EXISTS ${quote(mapping.schema)}`);
      await control.query(table.create);
    }
    await control.begin(start.source, { ...start, mapping, made: known.made });
    await control.fence(mapping);
  });
}

/** The target columns that are new when nothing else changed; null when something else did. */
function addedColumns(before: TableMapping, after: TableMapping): string[] | null {
  if (before.target !== after.target || before.schema !== after.schema) return null;
  const shape = (mapping: TableMapping) =>
    mapping.columns.map((c) => [c.target, c.codec.type, c.notNull, c.source].join("\0"));
  const [old, now] = [shape(before), shape(after)];
  const sameKey = before.key.map((c) => c.target).join("\0") === after.key.map((c) => c.target).join("\0");
  if (!sameKey || !old.every((column) => now.includes(column))) return null;
  return after.columns.filter((_, i) => !old.includes(now[i] ?? "")).map((column) => column.target);
}

/** A table that is followed no longer: it stays, as an ordinary table. */
export async function leaveTable(control: Control, source: string, known: FollowedTable): Promise<void> {
  await control.transaction(async () => {
    await control.release(source, known, false);
    await control.forget(source, known.name);
  });
}
