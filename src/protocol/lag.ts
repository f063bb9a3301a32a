// How far a target is behind, in seconds: the log carries no times, so the clock remembers when it first saw
// each position. It owns a bounded list of sightings and nothing else.
import type { Position } from "./contract.js";

interface Sighting {
  readonly position: Position;
  readonly atMs: number;
}

/** Beyond this every second sighting is dropped: the age of the oldest stays exact, the rest gets coarser. */
const SIGHTINGS_MAX = 1_000;

export class LagClock {
  private sightings: Sighting[] = [];

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** The source's newest position, as just seen. */
  saw(position: Position): void {
    const last = this.sightings.at(-1);
    if (last && last.position >= position) return;
    this.sightings.push({ position, atMs: this.now() });
    if (this.sightings.length > SIGHTINGS_MAX) this.sightings = this.sightings.filter((_, i) => i % 2 === 0);
  }

  /** The age of the oldest sighting beyond `applied`; 0 when there is none. */
  seconds(applied: Position): number {
    while (this.sightings[0] && this.sightings[0].position <= applied) this.sightings.shift();
    const oldest = this.sightings[0];
    return oldest ? (this.now() - oldest.atMs) / 1_000 : 0;
  }
}
