// Which of the application's own migrations would meet our triggers. The setting that matters belongs to the
// migration's connection, and the file does not say how it will be.
import { counted, type Finding } from "../../findings.js";
import type { Table } from "../../schema/model.js";
import { isEvictTrigger } from "../capture/off.js";
import { captureTriggers } from "../capture/triggers.js";

const NAMED = 5;

/** A note when a table's triggers name the table, which a rename in the legacy mode leaves behind. */
export function legacyRenames(tables: readonly Table[]): Omit<Finding, "source">[] {
  const naming = tables.filter((table) => captureTriggers(table, 1).some(({ name }) => isEvictTrigger(name)));
  if (naming.length === 0) return [];
  const first = naming.slice(0, NAMED).map(({ name }) => name);
  const list = first.join(", ") + (naming.length > NAMED ? ", …" : "");
  return [
    {
      severity: "note",
      code: "legacy-rename",
      message: `${counted(naming.length, "table")} with a UNIQUE beyond the key (${list}): RENAME TABLE under PRAGMA legacy_alter_table = ON would break their triggers`,
      remedy: "Run a migration that does so with `switchback exec -- COMMAND`.",
    },
  ];
}
