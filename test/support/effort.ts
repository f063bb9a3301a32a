// How much work a random or a large test does. `npm test` does a little of it; `npm run soak` runs the same files
// once more in full.
const FULL = process.env.SWITCHBACK_FULL === "1";

/** `full` under `npm run soak`, `quick` elsewhere. */
export function effort(quick: number, full: number): number {
  return FULL ? full : quick;
}
