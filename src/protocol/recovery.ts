// What a sidecar does at its start, from what the stores themselves record and from nothing else. Pure: it is
// checked against every state that a crash can leave (test/recovery/protocol.test.ts), and knows no engine.
//
// The file stores are where the application comes from, one a source; the database store is where it moves to, and
// decides. Under an even epoch the writes are at file, under an odd one database.
//
//   database says            a file says            then
//   file E               open E                 nothing to do
//   file E               closed E               closed for a flip that was not decided: open it again
//   file E               closed E-1             the way file was decided, not finished: open it under E
//   database E               closed E               nothing to do
//   database E               closed E-1             the way out was decided, not finished: record it
//   leaving E            closed E               the way file was not decided: open the database store again
//   any other pair                              refused: a backup, or another pair of stores. Nothing is opened, and
//                                               where both are open the one with the older record is closed.
export interface DatabaseRecord {
  readonly writes: "file" | "paused" | "database";
  readonly epoch: number;
}

export interface FileRecord {
  readonly closed: boolean;
  readonly epoch: number;
}

export type FileStep = "none" | "reopen" | "open" | "left";

export type Recovery =
  | {
      readonly writes: "file" | "database";
      readonly epoch: number;
      /** What the database store needs before anything else. */
      readonly database: "none" | "reopen";
      readonly files: readonly FileStep[];
    }
  | {
      readonly writes: null;
      /** Which file does not fit; null when the database's record contradicts itself. */
      readonly file: number | null;
      /** Homes that must be closed before anything else. */
      readonly close: readonly number[];
      /** The same of the database store. */
      readonly closeDatabase: boolean;
    };

export function recover(database: DatabaseRecord, files: readonly FileRecord[]): Recovery {
  const steps = files.map((file) => stepFor(database, file));
  const misfit = steps.indexOf(null);
  if (misfit >= 0 || !plausible(database)) {
    const closeDatabase = database.writes !== "file" && files.some(({ epoch }) => epoch > database.epoch);
    const open = files.flatMap(({ closed, epoch }, i) => (closed || epoch > database.epoch ? [] : [i]));
    const close = database.writes === "file" ? [] : open;
    return { writes: null, file: misfit < 0 ? null : misfit, close, closeDatabase };
  }
  return {
    writes: database.writes === "file" ? "file" : "database",
    epoch: database.epoch,
    database: database.writes === "paused" ? "reopen" : "none",
    files: steps as FileStep[],
  };
}

function plausible({ writes, epoch }: DatabaseRecord): boolean {
  return (epoch % 2 === 0) === (writes === "file");
}

/** Null when the pair cannot have come from one history. */
function stepFor(database: DatabaseRecord, file: FileRecord): FileStep | null {
  const behind = database.epoch - file.epoch;
  if (database.writes === "file") {
    if (behind === 0) return file.closed ? "reopen" : "none";
    return behind === 1 && file.closed ? "open" : null;
  }
  if (!file.closed) return null;
  if (behind === 0) return "none";
  return behind === 1 && database.writes === "database" ? "left" : null;
}
