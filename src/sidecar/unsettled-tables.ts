// Tables that are not followed although the records or the file have them, while all others are. One kind are copies of
// tables that SQLite dropped, the other tables that do not fit what stands in PostgreSQL.
import type pg from "pg";
import type { SourceConfig } from "../config/config.js";
import { leaveTable } from "../postgres/ddl/lifecycle.js";
import { type FollowedTable, Records } from "../postgres/records.js";
import { SourceChanged } from "../protocol/contract.js";

/** A table that was left out, and the question whether it still must be. */
export type StillUnfit = () => Promise<boolean>;

export class UnsettledTables {
  constructor(
    private readonly config: SourceConfig,
    /** Their copies are still there. */
    private dropped: readonly FollowedTable[] = [],
    private readonly unfit: StillUnfit | null = null,
  ) {}

  /**
   * The dropped tables whose copies are gone by now; they are forgotten.
   * @throws SourceChanged when a table that did not fit may do so now
   */
  async look(client: pg.ClientBase): Promise<string[]> {
    const records = new Records(client);
    const gone: string[] = [];
    for (const table of this.dropped) {
      if (await records.tableExists(table.mapping)) continue;
      await leaveTable(records, this.config.name, table);
      gone.push(table.name);
    }
    this.dropped = this.dropped.filter(({ name }) => !gone.includes(name));
    if (this.unfit && !(await this.unfit())) throw new SourceChanged();
    return gone;
  }
}
