// The change log in the file: its newest position, its length, keys that are added by hand, and rows that are
// forgotten. It also tells whether the log is still the one whose changes were applied. window.ts reads the changes.
import type Database from "better-sqlite3";
import type { SqliteValue } from "../../codec/codec.js";
import { StoredText } from "../../codec/stored-text.js";
import type { Position } from "../../protocol/contract.js";
import { logKeyColumns } from "../capture/triggers.js";
import { preparedValue } from "../statements.js";
import { relaxedCommits } from "../transaction.js";
import { markAt } from "./mark.js";

/** Deleting this many log rows holds the write lock for about a millisecond. */
const PRUNE_ROWS = 2_000;

/** Two lookups at the ends of the log: one query with both aggregates would read every row of it. */
const LOG_ROWS = `SELECT coalesce((SELECT max(seq) FROM _switchback_log) - (SELECT min(seq) FROM _switchback_log) + 1, 0)`;

export class ChangeLog {
  constructor(private readonly db: Database.Database) {}

  /** The newest position. */
  position(): Position {
    return Number(preparedValue(this.db, "SELECT coalesce(max(seq), 0) FROM _switchback_log").get());
  }

  /** Rows in the log, whether applied or not. The log has no gaps, so its two ends give the number. */
  rows(): number {
    return Number(preparedValue(this.db, LOG_ROWS).get());
  }

  /** Logs keys of a captured table, given by its number. Returns the position that covers them. */
  touch(table: number, keys: readonly (readonly SqliteValue[])[]): Position {
    const width = keys[0]?.length ?? 1;
    const columns = logKeyColumns(width);
    const text = StoredText.of(this.db);
    const insert = this.db.prepare(
      `INSERT INTO _switchback_log (t, ${columns.join(", ")}) VALUES (?, ${columns.map(() => text.slot).join(", ")})`,
    );
    this.db.transaction(() => {
      for (const key of keys) insert.run(BigInt(table), ...text.bind(key));
    })();
    return this.position();
  }

  /** Forgets some of the oldest rows, up to `to`; how many. */
  prune(to: Position): number {
    // The newest row always stays: an emptied log would start again at 1.
    const oldest = Number(this.db.prepare("SELECT coalesce(min(seq), 0) FROM _switchback_log").pluck().get());
    const end = Math.min(to, oldest + PRUNE_ROWS - 1);
    const forget = this.db.prepare(
      "DELETE FROM _switchback_log WHERE seq <= ? AND seq < (SELECT max(seq) FROM _switchback_log)",
    );
    return relaxedCommits(this.db, () => forget.run(end).changes);
  }
}

/** An applied position, and the fingerprint that the log had there. */
export interface AppliedMark {
  readonly position: Position;
  readonly mark: string;
}

interface LogFault {
  readonly code: "SQLITE_REWOUND" | "LOG_TAMPERED";
  readonly what: string;
}

/** Within a read transaction: why the log, which ends at `to`, is not the one that was applied up to `after`; or null. */
export function logFault(
  reader: Database.Database,
  after: Position,
  to: Position,
  applied: AppliedMark | null,
): LogFault | null {
  if (to < after)
    return {
      code: "SQLITE_REWOUND",
      what: `the change log ends at ${to}, but ${after} was already applied`,
    };
  if (after > 0 && applied?.position === after && markAt(reader, after) !== applied.mark)
    return {
      code: "SQLITE_REWOUND",
      what: `the change log at ${after} is not the one that was applied, as after a restored backup or a power cut`,
    };
  const logged = preparedValue(reader, "SELECT count(*) FROM _switchback_log WHERE seq > ? AND seq <= ?").get(
    after,
    to,
  );
  if (after > 0 && Number(logged) !== to - after)
    return {
      code: "LOG_TAMPERED",
      what: `the change log has ${logged} rows between ${after} and ${to}, not ${to - after}`,
    };
  return null;
}
