// What a sidecar does at its start, from what the stores themselves record and from nothing else. Pure: it is
// checked against every state that a crash can leave (test/recovery/protocol.test.ts), and knows no engine.
//
// The home stores are where the application comes from, one a source; the away store is where it moves to, and
// decides. Under an even epoch the writes are at home, under an odd one away.
//
//   away says            a home says            then
//   home E               open E                 nothing to do
//   home E               closed E               closed for a flip that was not decided: open it again
//   home E               closed E-1             the way home was decided, not finished: open it under E
//   away E               closed E               nothing to do
//   away E               closed E-1             the way out was decided, not finished: record it
//   leaving E            closed E               the way home was not decided: open the away store again
//   any other pair                              refused: a backup, or another pair of stores. Nothing is opened, and
//                                               where both are open the one with the older record is closed.
export interface AwayRecord {
  readonly writes: "home" | "leaving" | "away";
  readonly epoch: number;
}

export interface FileRecord {
  readonly closed: boolean;
  readonly epoch: number;
}

export type FileStep = "none" | "reopen" | "open" | "left";

export type Recovery =
  | {
      readonly writes: "home" | "away";
      readonly epoch: number;
      /** What the away store needs before anything else. */
      readonly away: "none" | "reopen";
      readonly homes: readonly FileStep[];
    }
  | {
      readonly writes: null;
      /** Which home does not fit. */
      readonly home: number;
      /** Homes that must be closed before anything else. */
      readonly close: readonly number[];
      /** The same of the away store. */
      readonly closeAway: boolean;
    };

export function recover(away: AwayRecord, homes: readonly FileRecord[]): Recovery {
  const steps = homes.map((home) => stepFor(away, home));
  const misfit = steps.indexOf(null);
  if (misfit >= 0 || !plausible(away)) {
    const closeAway = away.writes !== "home" && homes.some(({ epoch }) => epoch > away.epoch);
    const open = homes.flatMap(({ closed, epoch }, i) => (closed || epoch > away.epoch ? [] : [i]));
    const close = away.writes === "home" ? [] : open;
    return { writes: null, home: Math.max(0, misfit), close, closeAway };
  }
  return {
    writes: away.writes === "home" ? "home" : "away",
    epoch: away.epoch,
    away: away.writes === "leaving" ? "reopen" : "none",
    homes: steps as FileStep[],
  };
}

function plausible({ writes, epoch }: AwayRecord): boolean {
  return (epoch % 2 === 0) === (writes === "home");
}

/** Null when the pair cannot have come from one history. */
function stepFor(away: AwayRecord, home: FileRecord): FileStep | null {
  const behind = away.epoch - home.epoch;
  if (away.writes === "home") {
    if (behind === 0) return home.closed ? "reopen" : "none";
    return behind === 1 && home.closed ? "open" : null;
  }
  if (!home.closed) return null;
  if (behind === 0) return "none";
  return behind === 1 && away.writes === "away" ? "left" : null;
}
