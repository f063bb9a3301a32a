// `--adopt-file`: moves SQLite files to this database on purpose. It continues from the files as they are: every
// table is copied again, and no epoch is ever lowered. Refused while PostgreSQL has the writes.
//
// The order matters after a crash. The file first records that every copy lacks something, then PostgreSQL forgets
// what it had. Last, the file takes the epoch and the name of its database. An end in between leaves a pair that
// still does not fit, and the next try does all of it again.
import type { Logger } from "pino";
import { SwitchbackError } from "../errors.js";
import { type DatabaseIdentity, forgetCopies } from "../postgres/pair.js";
import type { Records } from "../postgres/records.js";
import { SqliteGate } from "../sqlite/gate.js";
import { readIdentityRecord } from "../sqlite/pair.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import { pairOf, type Strange } from "./pair.js";

interface Adoption {
  readonly records: Records;
  readonly here: DatabaseIdentity;
  readonly sources: readonly SqliteSource[];
  readonly strange: readonly Strange[];
  readonly owner: string;
  readonly log: Logger;
}

/**
 * Makes the files this database's own; nothing is done where they are already.
 * @throws SwitchbackError WRITES_AWAY, SOURCE_FOREIGN
 */
export async function adoptFiles({ records, here, sources, strange, owner, log }: Adoption): Promise<void> {
  const found = await records.route();
  // Files that switchback never met have no state, and nothing to give up.
  const met = sources.filter((source) => source.recordedIdentity() !== null);
  const gate = new SqliteGate(met, owner);
  try {
    const pair = pairOf(here);
    const moved = (source: SqliteSource) => strange.some((one) => one.source.name === source.name);
    const states = gate.states();
    if (met.every((source) => !moved(source) || source.look(readIdentityRecord).pair?.id === pair.id)) {
      // The same database at another place, as after an upgrade of the server: its records still tell the rest.
      const fits =
        found.writes !== "sqlite" || states.every(({ closed, epoch }) => closed || epoch === found.epoch);
      if (fits) {
        await gate.upgrade();
        return await gate.belong(pair);
      }
    }
    const elsewhere = met.find((_, i) => states[i]?.closed);
    if (found.writes !== "sqlite" || elsewhere) {
      const which = elsewhere ? `${elsewhere.file} has moved its writes` : `${here.address} has the writes`;
      throw new SwitchbackError(
        "WRITES_AWAY",
        `${which}: a file is adopted only while writes go to SQLite, by both records`,
        { ...(elsewhere ? { source: elsewhere.name, file: elsewhere.file } : {}) },
      );
    }
    const epoch = Math.max(found.epoch, ...states.map((state) => state.epoch));
    await gate.upgrade();
    await gate.leaveCopies();
    await forgetCopies(
      records,
      sources.map(({ name }) => name),
      epoch,
    );
    await gate.belong(pair, epoch);
    for (const { name, file } of met)
      log.warn(
        { source: name, epoch },
        `${file} belongs to ${here.address} from now on; every table is copied`,
      );
  } finally {
    gate.dispose();
  }
}
