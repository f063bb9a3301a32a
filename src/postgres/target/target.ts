// PostgreSQL as a target: moves the copy from one exact position to the next, and adds ranges. Each is one
// transaction that also records what it did. Each holds or moves the position for this sidecar only, so that no
// crash, retry or second sidecar can apply anything twice.
import type pg from "pg";
import type { PostgresConfig } from "../../config/config.js";
import { SwitchbackError } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import type {
  Applied,
  CopiedRange,
  EncodedRow,
  HistoryTarget,
  Position,
  Range,
  RangeReading,
  RefusedRow,
  TableWindow,
  TargetSnapshot,
  Window,
} from "../../protocol/contract.js";
import {
  allAnswered,
  cancelStatements,
  connectPostgres,
  inOneMessage,
  isDataError,
  isInterrupted,
  postgresError,
} from "../connection.js";
import type { FlipTransaction } from "../gate-transaction.js";
import { undisturbed } from "../trigger-check.js";
import { copyInto, csvOf, valuesOf } from "./copy.js";
import { countMismatch, isMiscount, miscount, RangeTally } from "./counts.js";
import { readFacts } from "./index-facts.js";
import { savedColumns } from "./kept-columns.js";
import { copyTarget, narrowStatements, qualifiedName, type TargetFacts } from "./merge.js";
import {
  advance,
  advanceWritten,
  isNarrow,
  type PositionMove,
  sendMoves,
  type TableMove,
} from "./narrow-window.js";
import { enter, moveQuarantine, type QuarantinedKeys, quarantinedKeys, type Wanted } from "./quarantine.js";
import { type Written, writeRowByRow } from "./row-by-row.js";
import { openTargetSnapshot } from "./snapshot.js";
import { deleteStaged, mergeCsv, writeStaged } from "./staged-merge.js";
import { Confirmed } from "./unique-rivals.js";

const HOLD = "SELECT switchback.hold($1, $2, $3)";
/** Joins of a few hundred thousand staged rows stay in memory; an index lookup beats reading a whole large table. */
const WIDE_SETTINGS = "SET LOCAL work_mem = '64MB'; SET LOCAL random_page_cost = 1.1";
const RECORD =
  "UPDATE switchback.range SET rows = $4 WHERE source = $1 AND table_name = $2 AND number = $3 AND rows IS NULL";

export class PostgresTarget implements HistoryTarget {
  private facts = new Map<string, TargetFacts>();
  private mappings = new Map<string, TableMapping>();
  private readonly idle: pg.Client[];
  /** The transaction that windows are part of, while a flip has one open. */
  private joined: { readonly flip: FlipTransaction; readonly tables: Set<string> } | null = null;
  private stages = 0;
  private confirmed = new Confirmed(null);

  private constructor(
    private readonly config: PostgresConfig,
    private readonly source: string,
    private readonly owner: string,
    /** Sends a whole narrow window without waiting for answers in between. */
    private readonly narrow: pg.Client,
    private readonly wide: pg.Client,
    private readonly copiers: readonly pg.Client[],
  ) {
    this.idle = [...copiers];
  }

  static async open(
    config: PostgresConfig,
    source: string,
    owner: string,
    writers: number,
  ): Promise<PostgresTarget> {
    const opened: pg.Client[] = [];
    const connect = async (role: string, pipelined: boolean) => {
      const client = await connectPostgres(config, {
        name: `switchback ${role} ${source}`,
        pipeline: pipelined,
      });
      opened.push(client);
      return client;
    };
    try {
      const [narrow, wide] = [await connect("apply", true), await connect("apply", false)];
      const copiers: pg.Client[] = [];
      for (let i = 0; i < writers; i++) copiers.push(await connect("copy", false));
      return new PostgresTarget(config, source, owner, narrow, wide, copiers);
    } catch (error) {
      await Promise.allSettled(opened.map((client) => client.end()));
      throw error;
    }
  }

  get writers(): number {
    return this.copiers.length;
  }

  /** A session for statements outside of windows. */
  get client(): pg.Client {
    return this.wide;
  }

  /** Learns the tables' mappings, and reads what their targets look like now. */
  async follow(mappings: readonly TableMapping[]): Promise<void> {
    this.mappings = new Map(mappings.map((mapping) => [mapping.table.name, mapping]));
    const facts = new Map<string, TargetFacts>();
    for (const schema of new Set(mappings.map((mapping) => mapping.schema))) {
      const mine = mappings.filter((mapping) => mapping.schema === schema);
      for (const [name, fact] of await readFacts(this.wide, schema, mine))
        facts.set(`${schema}.${name}`, fact);
    }
    for (const [table, saved] of await savedColumns(this.wide, this.source)) {
      const mapping = this.mappings.get(table);
      const fact = mapping && facts.get(`${mapping.schema}.${mapping.target}`);
      if (fact) facts.set(`${mapping.schema}.${mapping.target}`, { ...fact, saved });
    }
    this.facts = facts;
  }

  /** The sessions that copied, free again once the copy is over; they are closed with the target. */
  get free(): readonly pg.Client[] {
    return this.copiers;
  }

  /** Ends whatever statement is under way, from a session of its own; the statement fails and its transaction with it. */
  cancel(): Promise<void> {
    return cancelStatements(this.config, [this.narrow, this.wide, ...this.copiers]);
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.narrow, this.wide, ...this.copiers].map((client) => client.end()));
  }

  /** From now on windows are applied within this transaction, which its owner commits; `tables` gathers theirs. */
  join(flip: FlipTransaction, tables: Set<string>): void {
    this.joined = { flip, tables };
  }

  leave(): void {
    this.joined = null;
  }

  async apply(window: Window): Promise<Applied> {
    const applied = await this.applyOnce(window);
    this.confirmed = new Confirmed(window);
    return applied;
  }

  private async applyOnce(window: Window): Promise<Applied> {
    try {
      if (this.joined) {
        return await this.applyJoined(this.joined.flip, this.joined.tables, window);
      }
      const narrow = isNarrow(window);
      try {
        return narrow ? await this.applyNarrow(window) : await this.applyWide(window, false);
      } catch (error) {
        // Some row is at fault: the same window again, row by row where a batch fails.
        if (isDataError(error)) return await this.applyWide(window, true);
        // What made a statement fail or miss rows may be a trigger or rule of others: this looks for one before it
        // writes.
        if (narrow && !isInterrupted(error)) return await this.applyWide(window, false);
        throw error;
      }
    } catch (error) {
      throw this.explained(error);
    }
  }

  /** Keys of quarantined rows of tables that are followed. */
  quarantinedKeys(wanted: Pick<Wanted, "after" | "most" | "codecs">): Promise<QuarantinedKeys> {
    const mappingOf = (table: string) => this.mappings.get(table);
    return quarantinedKeys(this.wide, { ...wanted, source: this.source, mappingOf });
  }

  async copy(range: Range, position: Position, read: () => RangeReading): Promise<CopiedRange> {
    const client = this.idle.pop();
    if (!client) throw new Error("more copies at the same time than the target has writers");
    const mapping = this.mapping(range.table);
    try {
      try {
        return await this.add(client, range, position, read(), async (csv) => {
          const facts = this.factsOf(mapping);
          const written = facts.saved
            ? await mergeCsv(client, mapping, facts, this.stage("range"), csv)
            : await copyInto(client, copyTarget(mapping), csv);
          return { written, refused: [] };
        });
      } catch (error) {
        if (!isDataError(error)) throw error;
        // Some row is at fault: the range again, row by row.
        return await this.add(client, range, position, read(), (csv) => this.writeEach(client, mapping, csv));
      }
    } catch (error) {
      throw this.explained(error);
    } finally {
      this.idle.push(client);
    }
  }

  /** Statistics for the application's own queries, from a session that copied. */
  async analyze(tables: readonly string[]): Promise<void> {
    await this.copiers[0]?.query(tables.map((table) => `ANALYZE ${table}`).join("; "));
  }

  async snapshot(position: Position): Promise<TargetSnapshot> {
    const client = this.idle.pop();
    if (!client) throw new Error("every writer is busy");
    return openTargetSnapshot({
      ...{ client, config: this.config, source: this.source, position },
      mappingOf: (table) => this.mapping(table),
      done: () => this.idle.push(client),
    });
  }

  /** One range, one transaction: the rows, what was refused, and the record that the range is there. */
  private async add(
    client: pg.Client,
    range: Range,
    position: Position,
    reading: RangeReading,
    write: (csv: AsyncIterable<Uint8Array>) => Promise<Written>,
  ): Promise<CopiedRange> {
    const mapping = this.mapping(range.table);
    const tally = new RangeTally(mapping, range);
    try {
      await client.query("BEGIN");
      await client.query(HOLD, [this.source, this.owner, position]);
      await client.query(undisturbed([mapping]));
      const outcome = await write(tally.csv(reading));
      tally.check(outcome);
      this.confirmed.assertNoOther(new Map([[range.table, outcome.rivals ?? []]]), position);
      const refusals = [...tally.refused, ...outcome.refused];
      const refused = await enter(client, this.source, mapping, refusals);
      const { rowCount } = await client.query(RECORD, [
        this.source,
        range.table,
        range.number,
        outcome.written,
      ]);
      if (rowCount !== 1) throw countMismatch(mapping, `range ${range.number} is recorded already`);
      await client.query("COMMIT");
      return { rows: outcome.written, refused };
    } catch (error) {
      await client.query("ROLLBACK").catch(() => {});
      throw error;
    }
  }

  /** Few changes: every statement is sent in one message, and PostgreSQL answers them in one go. */
  private async applyNarrow(window: Window): Promise<Applied> {
    const client = this.narrow;
    const moves = this.movesOf(window);
    const [, released, , { command }] = await allAnswered(
      inOneMessage(client, () => [
        client.query("BEGIN"),
        sendMoves(client, this.source, moves),
        client.query(this.advanceWritten(window)),
        client.query("COMMIT"),
      ]),
    );
    // A COMMIT after a failed statement is answered with ROLLBACK and no error.
    if (command !== "COMMIT")
      throw new SwitchbackError("POSTGRES_TRANSIENT", `a window ended with ${command}`);
    return { refused: [], released };
  }

  /** A window within a flip's transaction: nothing can be set aside any more, and its answers are a part of the pause. */
  private async applyJoined(flip: FlipTransaction, tables: Set<string>, window: Window): Promise<Applied> {
    // What a table showed once in this transaction stays so to its end: the lock keeps triggers, rules and keys away.
    const unproven = window.tables.filter(({ table }) => !tables.has(table));
    for (const { table } of unproven) tables.add(table);
    if (!isNarrow(window)) {
      const { refused, released } = await flip.inTurn((client) => this.move(client, window, false));
      const [row] = refused;
      if (row) throw new SwitchbackError("QUARANTINED", `${row.table} ${row.key}: ${row.reason}`);
      return { refused, released };
    }
    const moves = this.movesOf(window);
    const proof = unproven.length > 0 ? [this.undisturbed(unproven)] : [];
    const [, released] = await flip.together((client) => {
      const first = [advance(this.moveOf(window)), ...proof].map((one) => client.query(one));
      return allAnswered([allAnswered(first), sendMoves(client, this.source, moves)]);
    });
    return { refused: [], released };
  }

  /** Made before anything is sent: a window is sent as a whole or not at all. */
  private movesOf({ tables }: Window): readonly TableMove[] {
    return tables.map((table) => ({ ...table, statements: this.statements(table) }));
  }

  /** Many changes, or a window with rows at fault: batches are staged and merged, one table after another. */
  private async applyWide(window: Window, each: boolean): Promise<Applied> {
    await this.wide.query("BEGIN");
    try {
      await this.wide.query(WIDE_SETTINGS);
      const applied = await this.move(this.wide, window, each);
      await this.wide.query("COMMIT");
      return applied;
    } catch (error) {
      await this.wide.query("ROLLBACK").catch(() => {});
      throw error;
    }
  }

  /** Moves the position and every table within a transaction that is open; with `each`, rows at fault are set aside. */
  private async move(client: pg.Client, window: Window, each: boolean): Promise<Applied> {
    const refused: RefusedRow[] = [];
    const released = new Map<string, number>();
    const rivals = new Map<string, readonly EncodedRow[]>();
    await client.query(advance(this.moveOf(window)));
    await client.query(this.undisturbed(window.tables));
    for (const table of window.tables) {
      const mapping = this.mapping(table.table);
      const quarantine = await moveQuarantine(client, this.source, mapping, table);
      released.set(table.table, quarantine.released);
      refused.push(...quarantine.refused);
      if (!each && table.rows.kind === "values" && table.gone.kind === "values") {
        for (const statement of this.statements(table)) await client.query(statement);
        continue;
      }
      await deleteStaged(client, mapping, this.stage("gone"), table.gone);
      if (each) {
        const outcome = await this.writeEach(client, mapping, csvOf(table.rows));
        refused.push(...(await enter(client, this.source, mapping, outcome.refused, quarantine.left)));
        rivals.set(table.table, outcome.rivals ?? []);
      } else {
        await writeStaged(client, mapping, this.factsOf(mapping), this.stage("rows"), table.rows);
      }
    }
    new Confirmed(window).assertNoOther(rivals, window.to);
    return { refused, released };
  }

  private writeEach(
    client: pg.Client,
    mapping: TableMapping,
    csv: AsyncIterable<Uint8Array>,
  ): Promise<Written> {
    return writeRowByRow(client, mapping, this.factsOf(mapping), this.stage("each"), csv);
  }

  /** A name for a temporary table. */
  private stage(what: string): string {
    return `switchback_${what}_${this.stages++}`;
  }

  private explained(error: unknown): unknown {
    return isMiscount(error) ? miscount(error, this.source) : postgresError(error);
  }

  /** Which position of whose window a transaction moves to. */
  private moveOf(window: Window): PositionMove {
    return { ...window, source: this.source, owner: this.owner };
  }

  private advanceWritten(window: Window): pg.QueryConfig {
    const written = window.tables.map(({ table }) => qualifiedName(this.mapping(table)));
    return advanceWritten(this.moveOf(window), written);
  }

  private undisturbed(tables: readonly TableWindow[]): pg.QueryConfig {
    return undisturbed(tables.map(({ table }) => this.mapping(table)));
  }

  private mapping(table: string): TableMapping {
    const mapping = this.mappings.get(table);
    if (!mapping) throw new Error(`table ${table} has no mapping`);
    return mapping;
  }

  private statements(table: TableWindow): pg.QueryConfig[] {
    const mapping = this.mapping(table.table);
    return narrowStatements(mapping, this.factsOf(mapping), valuesOf(table.rows), valuesOf(table.gone));
  }

  private factsOf(mapping: TableMapping): TargetFacts {
    const facts = this.facts.get(`${mapping.schema}.${mapping.target}`);
    if (!facts) throw new Error(`the target of ${mapping.table.name} was not looked at`);
    return facts;
  }
}
