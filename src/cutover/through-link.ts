// Where a file that may be a symbolic link is written: at the end of its links, so that every link stays one. It
// reads links only; the flag and the route own what is written there.
import { readlinkSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** As many as Linux follows before it reports a loop. */
const LINKS_MAX = 40;

/** The place behind every link, also where nothing exists there yet. */
export function throughLinks(file: string): string {
  let place = file;
  for (let links = 0; links < LINKS_MAX; links += 1) {
    try {
      place = resolve(dirname(place), readlinkSync(place));
    } catch {
      return place;
    }
  }
  return place;
}
