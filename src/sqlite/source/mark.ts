// The fingerprint of the change log at a position, by which a log that was replaced is told from the one that was read.
import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import type { Position } from "../../protocol/contract.js";
import { preparedRows } from "../statements.js";

/** Log rows in a fingerprint. Each row is unique, so one would do; more also detect manual changes. */
const MARK_ROWS = 16;

/**
 * The end of the log at a position, as text. The sidecar stores it with the position. A restored backup that was
 * written to since has numbers as high, but not the same keys behind them.
 */
export function markAt(db: Database.Database, position: Position): string {
  const rows = preparedRows(db, "SELECT * FROM _switchback_log WHERE seq > ? AND seq <= ? ORDER BY seq").all(
    position - MARK_ROWS,
    position,
  ) as unknown[][];
  // Columns that the log gained later are NULL in its older rows; without them the text stays unchanged.
  const text = rows.map((row) => row.filter((value) => value !== null).map(markOf));
  return createHash("sha256").update(JSON.stringify(text)).digest("base64");
}

function markOf(value: unknown): string {
  return value instanceof Uint8Array ? `x${Buffer.from(value).toString("hex")}` : `${typeof value} ${value}`;
}
