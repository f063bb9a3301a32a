// switchback's records in PostgreSQL: which file feeds this target, which tables are followed and how, which
// ranges are copied, what is quarantined, and the fence triggers on the replicated tables. Only statements
// about those records live here; rows of the application are target.ts's.
import type pg from "pg";
import { SwitchbackError } from "../errors.js";
import { mappingFromJson, type TableMapping, type TableMappingJson } from "../mapping/mapping.js";
import { at, only } from "../present.js";
import type { Position, Range } from "../protocol/contract.js";
import { sql } from "../sql-files.js";
import { removalOfCapture } from "./capture.js";
import { postgresError } from "./connection.js";
import { suspendedStatements } from "./ddl/constraints.js";
import type { RecordedShape } from "./ddl/shape.js";
import { assertCurrent, migratePostgres, postgresRecordsVersion } from "./migrate.js";
import { alignSequences, readSequences } from "./sequences.js";
import { dropSaved } from "./target/kept-columns.js";
import { qualifiedName } from "./target/merge.js";

type TableState = "copying" | "finishing" | "streaming";

export interface FollowedTable {
  readonly name: string;
  /** The table's number in PostgreSQL's change log. */
  readonly id: number;
  readonly mapping: TableMapping;
  readonly ddl: string;
  /** The configuration that the mapping was decided under, as text. */
  readonly settings: string;
  readonly estimated: number;
  readonly state: TableState;
  readonly made: boolean;
  readonly ranges: readonly (Range & { readonly rows: number | null })[];
  readonly quarantined: number;
  /** The shape that switchback gave the table; null for an adopted table, and before it was first recorded. */
  readonly shape: RecordedShape | null;
}

export interface SourceRecord {
  readonly name: string;
  readonly identity: string;
  readonly file: string;
  readonly schema: string;
  readonly position: Position;
  /** The SQLite schema version that was last accepted. */
  readonly version: number;
  /** What the log looked like at the position; null before the first window. */
  readonly mark: string | null;
  /** How many of PostgreSQL's changes were carried to the file. */
  readonly consumed: Position;
  /** The mark of the window that brought it there; empty before the first. */
  readonly carried: string;
}

export interface VerificationRecord {
  readonly at: string;
  readonly equal: boolean;
  readonly different: number;
}

/** The fence function's text while writes go to SQLite under this epoch. */
export function closedFence(epoch: number): string {
  return sql("postgres/fence-closed").replace("(epoch EPOCH)", `(epoch ${Math.trunc(epoch)})`);
}

/** The error of a file that has its source's name and path perhaps, but is not the one that was copied. */
export function copiedFromAnother(
  { name, file }: { readonly name: string; readonly file: string },
  recorded: string,
): SwitchbackError {
  const other =
    recorded === file
      ? "another SQLite file, which was at the same path,"
      : `another SQLite file (${recorded}),`;
  return new SwitchbackError(
    "TARGET_FOREIGN",
    `source ${name} in this database was copied from ${other} not from ${file}`,
    { source: name, file },
  );
}

export class Records {
  constructor(private readonly client: pg.ClientBase) {}

  /** For statements within a transaction of these records. */
  get session(): pg.ClientBase {
    return this.client;
  }

  /**
   * True where switchback is installed, with the records that this program knows.
   * @throws SwitchbackError RECORDS_OLDER, RECORDS_NEWER
   */
  async installed(): Promise<boolean> {
    return assertCurrent(this.client);
  }

  /** The number of the last migration of the records; 0 where switchback is not installed. */
  async recordsVersion(): Promise<number> {
    return postgresRecordsVersion(this.client);
  }

  /**
   * Installs switchback, or brings an older installation's records to the present version. Only under the sidecar's lock.
   * @throws SwitchbackError RECORDS_NEWER
   */
  async install(): Promise<void> {
    await this.transaction(async () => {
      const before = await postgresRecordsVersion(this.client);
      await migratePostgres(this.client);
      if (before === 0) await this.query(closedFence((await this.route()).epoch));
      await this.query(sql("postgres/private"));
    });
  }

  async source(name: string): Promise<SourceRecord | null> {
    const { rows } = await this.query<
      Record<
        "name" | "identity" | "file" | "schema" | "position" | "version" | "consumed" | "carried",
        string
      > & {
        mark: string | null;
      }
    >(
      "SELECT name, identity, file, schema, position, version, mark, consumed, carried FROM switchback.source WHERE name = $1",
      [name],
    );
    const row = rows[0];
    if (!row) return null;
    const { position, version, consumed } = row;
    return { ...row, position: Number(position), version: Number(version), consumed: Number(consumed) };
  }

  async sourceNames(): Promise<string[]> {
    const { rows } = await this.query<{ name: string }>("SELECT name FROM switchback.source ORDER BY name");
    return rows.map(({ name }) => name);
  }

  /** Registers the source, or takes it over for this owner. @throws TARGET_FOREIGN when it is another file's */
  async claim(
    record: Pick<SourceRecord, "name" | "identity" | "file" | "schema">,
    owner: string,
  ): Promise<SourceRecord> {
    const known = await this.source(record.name);
    if (known && known.identity !== record.identity) {
      throw copiedFromAnother(record, known.file);
    }
    const { name, identity, file, schema } = record;
    await this.query(sql("postgres/claim-source"), [name, identity, file, schema, owner]);
    const claimed = await this.source(record.name);
    if (!claimed) throw new Error(`source ${record.name} vanished while it was claimed`);
    return claimed;
  }

  async setVersion(source: string, version: number): Promise<void> {
    await this.query("UPDATE switchback.source SET version = $2 WHERE name = $1", [source, version]);
  }

  async followed(source: string): Promise<FollowedTable[]> {
    const { rows } = await this.query<{
      name: string;
      id: number;
      mapping: TableMappingJson;
      ddl: string;
      settings: string;
      estimated: string;
      state: TableState;
      made: boolean;
      quarantined: string;
      shape: RecordedShape | null;
      ranges: { number: number; lo: string | null; hi: string | null; rows: number | null }[] | null;
    }>(sql("postgres/followed"), [source]);
    return rows.map((row) => ({
      ...row,
      mapping: mappingFromJson(row.mapping),
      estimated: Number(row.estimated),
      quarantined: Number(row.quarantined),
      ranges: (row.ranges ?? []).map((range) => ({ ...range, table: row.name })),
    }));
  }

  async tableExists(mapping: TableMapping): Promise<boolean> {
    return (
      (await this.query("SELECT 1 WHERE to_regclass($1) IS NOT NULL", [qualifiedName(mapping)])).rowCount ===
      1
    );
  }

  /** Those of these tables that are not in the target any more. */
  async vanished(tables: readonly FollowedTable[]): Promise<FollowedTable[]> {
    const { rows } = await this.query<{ there: boolean }>(
      "SELECT to_regclass(name) IS NOT NULL AS there FROM unnest($1::text[]) WITH ORDINALITY AS t (name, n) ORDER BY n",
      [tables.map(({ mapping }) => qualifiedName(mapping))],
    );
    return tables.filter((_, i) => rows[i]?.there === false);
  }

  async setState(source: string, table: string, state: TableState): Promise<void> {
    await this.query("UPDATE switchback.followed SET state = $3 WHERE source = $1 AND name = $2", [
      source,
      table,
      state,
    ]);
    if (state === "streaming") await dropSaved(this, source, table);
  }

  async forget(source: string, table: string): Promise<void> {
    await this.query("DELETE FROM switchback.followed WHERE source = $1 AND name = $2", [source, table]);
  }

  /** Puts the fence on a replicated table: from its commit only the sidecar writes there. */
  async fence(mapping: TableMapping): Promise<void> {
    const table = qualifiedName(mapping);
    await this.query(
      `CREATE OR REPLACE TRIGGER switchback_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${table}
         FOR EACH STATEMENT EXECUTE FUNCTION switchback.fence()`,
    );
  }

  /** Those of the tables whose fence is gone: it was dropped or disabled. */
  async unfenced(mappings: readonly TableMapping[]): Promise<TableMapping[]> {
    const { rows } = await this.query<{ place: string }>(sql("postgres/fenced"), [
      mappings.map(qualifiedName),
    ]);
    const { rows: names } = await this.query<{ place: string }>(
      "SELECT name::regclass::text AS place FROM unnest($1::text[]) WITH ORDINALITY AS x(name, n) ORDER BY n",
      [mappings.map(qualifiedName)],
    );
    const fenced = new Set(rows.map(({ place }) => place));
    return mappings.filter((_, i) => !fenced.has(at(names, i, "table").place));
  }

  /**
   * Takes everything of ours off a table. While SQLite has the writes, what was suspended is restored and the table's
   * sequences continue after its rows. While PostgreSQL has them, all of that is as the application left it.
   */
  async release(source: string, { id, mapping }: FollowedTable, away: boolean): Promise<void> {
    const table = qualifiedName(mapping);
    if (!(await this.tableExists(mapping))) return;
    await this.query(`DROP TRIGGER IF EXISTS switchback_fence ON ${table}`);
    await this.query(removalOfCapture({ id, mapping }));
    if (away) return;
    await alignSequences(this.client, await readSequences(this.client, [{ source, mapping }]), new Map());
    for (const statement of await suspendedStatements(this, [source], mapping.table.name))
      await this.query(statement);
  }

  async quarantined(
    source: string,
    table: string,
    most: number,
  ): Promise<{ key: string; column: string | null; reason: string }[]> {
    const { rows } = await this.query<{ key: string; column: string | null; reason: string }>(
      sql("postgres/quarantined"),
      [source, table, most],
    );
    return rows;
  }

  async quarantinedCount(source: string, table: string): Promise<number> {
    const { rows } = await this.query<{ count: string }>(
      "SELECT count(*) FROM switchback.quarantine WHERE source = $1 AND table_name = $2",
      [source, table],
    );
    return Number(only(rows, "count").count);
  }

  async route(): Promise<{ writes: "sqlite" | "paused" | "postgres"; epoch: number; changedAt: string }> {
    const { rows } = await this.query<{
      writes: "sqlite" | "paused" | "postgres";
      epoch: string;
      changed_at: Date;
    }>("SELECT writes, epoch, changed_at FROM switchback.route");
    const row = only(rows, "row of switchback.route");
    return { writes: row.writes, epoch: Number(row.epoch), changedAt: row.changed_at.toISOString() };
  }

  /** On the server's disk when it resolves: a cutover asks for it. */
  async recordVerification(
    source: string,
    position: Position,
    equal: boolean,
    different: number,
    began: string,
  ): Promise<void> {
    await this.transaction(async () => {
      await this.query("SET LOCAL synchronous_commit = on");
      const found = [source, position, equal, different, began];
      await this.query(sql("postgres/record-verification"), found);
    });
  }

  /** The server's clock, as text that keeps its microseconds. */
  async now(): Promise<string> {
    const { rows } = await this.query<{ now: string }>("SELECT clock_timestamp()::text AS now");
    return only(rows, "time").now;
  }

  async verification(source: string): Promise<VerificationRecord | null> {
    const { rows } = await this.query<{ at: Date; equal: boolean; different: string }>(
      "SELECT at, equal, different FROM switchback.verification WHERE source = $1",
      [source],
    );
    const row = rows[0];
    return row ? { at: row.at.toISOString(), equal: row.equal, different: Number(row.different) } : null;
  }

  /**
   * Waits until everything committed so far is on the server's disk: log rows up to here may be forgotten.
   * False while a comparison needs them.
   */
  async flush(source: string): Promise<boolean> {
    return this.transaction(async () => {
      const { rows } = await this.query<{ free: boolean }>(
        "SELECT pg_try_advisory_xact_lock(8320234785195188845) AS free",
      );
      if (!only(rows, "answer").free) return false;
      await this.query("SET LOCAL synchronous_commit = on");
      await this.query("UPDATE switchback.source SET name = name WHERE name = $1", [source]);
      return true;
    });
  }

  /** While the session lasts, the sidecar keeps the log rows that a comparison needs. */
  async keepLog(): Promise<void> {
    await this.query("SELECT pg_advisory_lock_shared(8320234785195188845)");
  }

  async uninstall(): Promise<void> {
    await this.query(sql("postgres/uninstall"));
  }

  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.query("BEGIN");
    try {
      const result = await work();
      await this.query("COMMIT");
      return result;
    } catch (error) {
      await this.client.query("ROLLBACK").catch(() => {});
      throw error;
    }
  }

  async query<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<pg.QueryResult<R>> {
    try {
      // Without values the simple protocol is used, which takes several statements in one message.
      return await (values.length === 0 ? this.client.query<R>(text) : this.client.query<R>(text, values));
    } catch (error) {
      throw postgresError(error);
    }
  }
}
