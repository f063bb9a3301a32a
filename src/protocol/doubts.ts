// The keys of rows that a target holds and that kept rows of the source out, and of rows that it refused before. They
// are read again with every window until one was applied, so that a change that capture missed is corrected.
import type { EncodedRow, KeysByTable } from "./contract.js";

export class Doubts {
  private readonly tables = new Map<string, Map<string, EncodedRow>>();

  /** @throws Error when none of them is new: reading them again would change nothing, for ever */
  add(keys: KeysByTable): void {
    if (this.again(keys) === 0) throw new Error("a target doubted rows that had just been read again");
  }

  /** Returns how many of them are new. */
  again(keys: KeysByTable): number {
    let added = 0;
    for (const [table, rows] of keys) {
      const mine = this.tables.get(table) ?? new Map<string, EncodedRow>();
      const before = mine.size;
      for (const row of rows) mine.set(JSON.stringify(row), row);
      added += mine.size - before;
      this.tables.set(table, mine);
    }
    return added;
  }

  get keys(): KeysByTable {
    return new Map([...this.tables].map(([table, rows]) => [table, [...rows.values()]]));
  }

  forget(): void {
    this.tables.clear();
  }
}
