// The order of the files: the slowest first, so that no worker has a long one left when the others are done.
// vitest knows how long a file took only where it ran before, and a fresh checkout ran none.
import type { TestSpecification } from "vitest/node";
import { BaseSequencer } from "vitest/node";

/** From the slowest on; what is not named here follows by size. */
const SLOWEST = [
  "recovery/other-database",
  "recovery/split",
  "recovery/power-cut-moments",
  "cli/lifecycle",
  "recovery/crash-at-every-step",
  "recovery/lost-session",
  "recovery/frozen-postgres",
  "client/sidecar",
  "revert/backup-put-back",
  "recovery/kill-in-flip",
  "recovery/kill-sidecar",
  "schema/shapes",
  "follow/triggers-on-copy",
  "values/utf16",
  "revert/refused-rows",
  "revert/postgres-source",
  "cutover/several-sources",
  "schema/live-changes",
  "cutover/sqlite-locks",
  "cli/command-line",
  "cutover/flag",
  "cli/embedded-postgres",
];

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const bySize = await super.sort(files);
    const place = ({ moduleId }: TestSpecification) => {
      const found = SLOWEST.findIndex((name) => moduleId.endsWith(`test/${name}.test.ts`));
      return found === -1 ? SLOWEST.length : found;
    };
    return bySize.toSorted((a, b) => place(a) - place(b));
  }
}
