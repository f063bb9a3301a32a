// Brings both stores to one position and holds them there while changes are followed: what is read of the two then is
// comparable exactly. It knows neither engine.
import type { HistorySource, HistoryTarget, Snapshot, TargetSnapshot } from "./contract.js";

/** What a link can do for it: bring the target to a snapshot's position. */
export interface Meeting {
  /** Applies everything up to the snapshot; `read` is called when that is read and not yet applied. */
  meet(snapshot: Snapshot, read: () => Promise<void>): Promise<void>;
}

/** Both stores at one position, until the caller ends it. */
export interface Met<T> {
  readonly snapshot: Snapshot;
  readonly target: TargetSnapshot;
  /** What was read of the source already, because its snapshot is let go; null where it can still be read. */
  readonly early: T | null;
  end(): Promise<void>;
}

/**
 * Resolves once both stores hold on to one position, and following may continue. Where an open read blocks the
 * application, `early` reads what is needed first, and nothing of the source is held while the target does its part.
 */
export async function meet<T>(
  meeting: Meeting,
  source: HistorySource,
  target: HistoryTarget,
  wanted: { readonly readers: number; early(snapshot: Snapshot): Promise<T> },
): Promise<Met<T>> {
  const snapshot = await source.snapshot(wanted.readers);
  try {
    const read: T[] = [];
    await meeting.meet(snapshot, async () => {
      if (!source.briefReads) return;
      read.push(await wanted.early(snapshot));
      await snapshot.release();
    });
    const held = await target.snapshot(snapshot.position);
    snapshot.leaveToReaders();
    const end = async () => {
      await Promise.allSettled([held.close(), snapshot.release()]);
    };
    return { snapshot, target: held, early: read[0] ?? null, end };
  } catch (error) {
    await snapshot.release();
    throw error;
  }
}
