// Reads a window: for every key logged in (after, to], the row as it stands at `to`. The caller holds a read
// transaction, so that the log's end and the rows belong to one state of the database.
//
// A narrow window is read in the exact form, straight into memory. A wide one is read in bulk, table by table,
// through a temporary list of distinct keys, and spooled, so that memory does not grow with the backlog.
import type Database from "better-sqlite3";
import { Refusal, type SqliteValue } from "../../codec/codec.js";
import { EXACT_SLOT, exactValues, StoredText } from "../../codec/stored-text.js";
import { keyNames, otherKeys, spelledColumns } from "../../mapping/key-spellings.js";
import type { TableMapping } from "../../mapping/mapping.js";
import {
  csvBytes,
  csvLine,
  decodeKey,
  encodeRow,
  keyIndexes,
  keyOf,
  keyText,
} from "../../mapping/row-format.js";
import type {
  EncodedRow,
  NullKey,
  Position,
  RefusedRow,
  Scope,
  TableWindow,
  Window,
} from "../../protocol/contract.js";
import { keyExpressions } from "../../schema/model.js";
import { logKeyColumns } from "../capture/triggers.js";
import { preparedRows, preparedValue } from "../statements.js";
import { markAt } from "./mark.js";
import { cleanExpression, csvExpression, exactList, fromTable, isSound } from "./queries.js";
import { copiedCondition } from "./ranges.js";
import { Spool } from "./spool.js";

/** A table's changes are read into memory as values up to this many log rows. */
const NARROW_CHANGES = 2_000;
/** Beyond this much text a narrow window is spooled as well. */
const NARROW_CHARACTERS = 8 * 1024 * 1024;
/** Keys read at a time in a wide window; between groups the event loop runs. */
const GROUP_KEYS = 4_000;

/** A captured table for the window reader. */
export interface Followed {
  readonly id: number;
  readonly mapping: TableMapping;
}

/** Reads (after, to]; skips log rows of tables that are not followed. */
export async function readWindow(
  db: Database.Database,
  followed: readonly Followed[],
  scope: Scope,
  after: Position,
  to: Position,
  breathe: () => Promise<void>,
): Promise<Window> {
  const counts = preparedRows(
    db,
    "SELECT t, count(*) FROM _switchback_log WHERE seq > ? AND seq <= ? GROUP BY t",
  );
  const tables: TableWindow[] = [];
  const spools: Spool[] = [];
  let changes = 0;
  const dispose = () => {
    for (const spool of spools) spool.dispose();
  };
  try {
    const logged = new Map(
      (counts.all(after, to) as [bigint, bigint][]).map(([id, count]) => [Number(id), Number(count)]),
    );
    for (const count of logged.values()) changes += count;
    for (const table of followed) {
      const { name } = table.mapping.table;
      const count = logged.get(table.id) ?? 0;
      const doubted = scope.doubted?.get(name)?.length ?? 0;
      // Nothing of the table is in the target yet, so nothing must change there.
      if (count + doubted === 0 || scope.copied(name).length === 0) continue;
      const reader = new TableReader(db, table, scope, after, to);
      if (count + doubted <= NARROW_CHANGES) tables.push(reader.narrow(count, spools));
      else tables.push(await reader.wide(count, spools, breathe));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  const close = async () => dispose();
  const { doubted } = scope;
  return { from: after, to, changes, mark: markAt(db, to), tables, ...(doubted && { doubted }), close };
}

/** The text that reads a table's narrow windows once the whole of it is copied. */
const narrowTexts = new WeakMap<TableMapping, string>();

class TableReader {
  private readonly mapping: TableMapping;
  private readonly keys: string[];
  private readonly logKeys: string[];
  private readonly copied: { sql: string; values: unknown[] };
  private readonly naming: boolean;
  private readonly text: StoredText;
  /** Keys in doubt that SQLite cannot hold, and therefore does not have. */
  private readonly absent: EncodedRow[] = [];
  private readonly doubts: boolean;

  constructor(
    private readonly db: Database.Database,
    private readonly followed: Followed,
    scope: Scope,
    private readonly after: Position,
    private readonly to: Position,
  ) {
    this.mapping = followed.mapping;
    this.keys = keyExpressions(this.mapping.table).map((key) => `r.${key}`);
    this.logKeys = logKeyColumns(this.keys.length);
    this.text = StoredText.of(db);
    this.copied = copiedCondition(this.mapping, this.text, scope.copied(this.mapping.table.name));
    this.naming = scope.quarantined(this.mapping.table.name);
    this.doubts = this.listDoubted(scope.doubted?.get(this.mapping.table.name) ?? []);
  }

  /** Keeps the keys in doubt where `distinctKeys` reads them. */
  private listDoubted(keys: readonly EncodedRow[]): boolean {
    if (keys.length === 0) return false;
    this.db.exec("DROP TABLE IF EXISTS temp._switchback_doubted");
    this.db.exec(`CREATE TEMP TABLE _switchback_doubted (${this.logKeys.join(", ")})`);
    const marks = this.logKeys.map(() => "?").join(", ");
    const insert = this.db.prepare<unknown[]>(`INSERT INTO temp._switchback_doubted VALUES (${marks})`);
    for (const key of keys) {
      const values = decodeKey(this.mapping, key);
      if (values instanceof Refusal) this.absent.push(key);
      else insert.run(...values);
    }
    return true;
  }

  /** All the changes value by value; rows that are together too wide for memory are spooled. */
  narrow(changes: number, spools: Spool[]): TableWindow {
    const statement = preparedRows(this.db, this.narrowText());
    let rows: EncodedRow[] = [];
    let characters = 0;
    let spool: Spool | null = null;
    const gone: EncodedRow[] = [...this.absent];
    const refused: RefusedRow[] = [];
    const touched: string[] = [];
    const nullKeys: NullKey[] = [];
    for (const raw of statement.iterate(...this.window(), ...this.copied.values) as Iterable<unknown[]>) {
      const { row, keys, refusal, names, nullKey } = this.decode(raw);
      if (this.naming) touched.push(...names);
      if (nullKey) nullKeys.push(nullKey);
      if (refusal) refused.push(refusal);
      gone.push(...keys);
      if (!row) continue;
      rows.push(row);
      characters += row.reduce((sum, value) => sum + (value?.length ?? 0), 0);
      if (characters < NARROW_CHARACTERS) continue;
      if (!spool) {
        spool = new Spool();
        spools.push(spool);
      }
      for (const wide of rows) gone.push(...this.write(spool, wide, refused));
      rows = [];
      characters = 0;
    }
    if (spool) for (const wide of rows) gone.push(...this.write(spool, wide, refused));
    return {
      table: this.mapping.table.name,
      changes,
      rows: spool ? spool.rows() : { kind: "values", values: rows },
      gone: { kind: "values", values: gone },
      refused,
      touched,
      nullKeys,
    };
  }

  /** Spools a row; when it is too large, refuses it and returns the key that must leave the target. */
  private write(spool: Spool, row: EncodedRow, refused: RefusedRow[]): EncodedRow[] {
    const bytes = csvBytes(row);
    if (!(bytes instanceof Refusal)) {
      spool.write(bytes, 1);
      return [];
    }
    refused.push({
      table: this.mapping.table.name,
      key: this.nameOf(row),
      column: null,
      reason: bytes.reason,
    });
    return [keyIndexes(this.mapping).map((i) => row[i] ?? null)];
  }

  /** The key text of an encoded row. */
  private nameOf(row: EncodedRow): string {
    return keyText(
      this.mapping.key.map((column, i) => {
        const value = column.codec.decode(row[keyIndexes(this.mapping)[i] ?? -1] ?? null);
        return value instanceof Refusal ? value.reason : value;
      }),
    );
  }

  /** The same through a temporary list of keys and a spool. */
  async wide(changes: number, spools: Spool[], breathe: () => Promise<void>): Promise<TableWindow> {
    this.db.exec("DROP TABLE IF EXISTS temp._switchback_dirty");
    this.db.exec(`CREATE TEMP TABLE _switchback_dirty (n INTEGER PRIMARY KEY, ${this.logKeys.join(", ")})`);
    this.db
      .prepare(
        `INSERT INTO temp._switchback_dirty (${this.logKeys.join(", ")}) ${this.distinctKeys()} ORDER BY ${this.logKeys.join(", ")}`,
      )
      .run(...this.window());
    const total = Number(
      this.db.prepare("SELECT coalesce(max(n), 0) FROM temp._switchback_dirty").pluck().get(),
    );
    const group = "(SELECT * FROM temp._switchback_dirty WHERE n > ? AND n <= ?) AS d";
    const prepare = (text: string) => this.db.prepare(text).raw().safeIntegers();
    const bulk = prepare(
      `SELECT min(${this.cleanAlone()}), count(*), CAST(group_concat(${csvExpression(this.mapping)}, '') AS BLOB)
         FROM ${group} JOIN ${this.joined()}`,
    );
    const missing = prepare(
      `SELECT ${this.exactColumns()} FROM ${group} LEFT JOIN ${this.joined()} WHERE ${this.keys[0]} IS NULL`,
    );
    const exact = prepare(`SELECT ${this.exactColumns()} FROM ${group} LEFT JOIN ${this.joined()}`);
    const rows = new Spool();
    const gone = new Spool();
    spools.push(rows, gone);
    for (const key of this.absent) gone.write(Buffer.from(csvLine(key)), 1);
    const refused: RefusedRow[] = [];
    const touched: string[] = [];
    const nullKeys: NullKey[] = [];
    const absorb = (list: unknown[][]) => {
      const absent: string[] = [];
      for (const raw of list) {
        const { row, keys, refusal, names, nullKey } = this.decode(raw);
        if (this.naming) touched.push(...names);
        if (nullKey) nullKeys.push(nullKey);
        if (refusal) refused.push(refusal);
        absent.push(...keys.map(csvLine));
        if (row) absent.push(...this.write(rows, row, refused).map(csvLine));
      }
      // One piece per group: thousands of small ones would each become their own message.
      if (absent.length > 0) gone.write(Buffer.from(absent.join("")), absent.length);
    };
    for (let n = 0; n < total; n += GROUP_KEYS) {
      const parameters = [n, n + GROUP_KEYS, ...this.copied.values];
      const csv = this.naming || !this.text.isUtf8 ? null : this.bulkGroup(bulk, parameters);
      if (csv) {
        if (csv.rows > 0) rows.write(csv.bytes, csv.rows);
        if (csv.rows < Math.min(GROUP_KEYS, total - n)) absorb(missing.all(...parameters) as unknown[][]);
      } else {
        absorb(exact.all(...parameters) as unknown[][]);
      }
      await breathe();
    }
    this.db.exec("DROP TABLE temp._switchback_dirty");
    return {
      table: this.mapping.table.name,
      changes,
      rows: rows.rows(),
      gone: gone.rows(),
      refused,
      touched,
      nullKeys,
    };
  }

  /** A group of keys in the bulk form, or null when it must take the exact form. */
  private bulkGroup(
    statement: Database.Statement,
    parameters: unknown[],
  ): { rows: number; bytes: Buffer } | null {
    try {
      const [clean, rows, bytes] = statement.get(...parameters) as [bigint | null, bigint, Buffer | null];
      if (rows === 0n || bytes === null) return { rows: 0, bytes: Buffer.alloc(0) };
      return clean !== 0n && isSound(bytes) ? { rows: Number(rows), bytes } : null;
    } catch (error) {
      if ((error as { code?: string }).code === "SQLITE_TOOBIG") return null;
      throw error;
    }
  }

  /** As `cleanExpression`, and 0 for rows whose key has another spelling that PostgreSQL treats as another key. */
  private cleanAlone(): string {
    const spelled = spelledColumns(this.mapping).map(({ source }) => ` AND r.${source} IS NOT 0`);
    return `(${cleanExpression(this.mapping)}${spelled.join("")})`;
  }

  /**
   * One joined row: the present row when it exists inside the copied ranges, and the keys that must not be in the
   * target. The names are all those under which the row may be in quarantine.
   */
  private decode(raw: unknown[]): {
    row: EncodedRow | null;
    keys: EncodedRow[];
    refusal: RefusedRow | null;
    names: string[];
    nullKey: NullKey | null;
  } {
    const width = this.keys.length;
    const keyValues = this.text.values(raw, width);
    if (keyValues.includes(null))
      return { row: null, keys: [], refusal: null, names: [], nullKey: this.nullKey(keyValues) };
    const names = keyNames(this.mapping, keyValues, "one");
    const present = raw[width + 1] === 1n;
    if (!present) return { row: null, keys: this.encodeKey(keyValues), refusal: null, names, nullKey: null };
    const values = this.text.values(raw, this.mapping.columns.length, width + 2);
    const encoded = encodeRow(this.mapping.columns, values);
    if (encoded.row) {
      const { row } = encoded;
      const own = keyIndexes(this.mapping).map((i) => row[i] ?? null);
      return { row, keys: otherKeys(this.mapping, own), refusal: null, names, nullKey: null };
    }
    const refusal = {
      table: this.mapping.table.name,
      key: keyOf(this.mapping, values),
      column: encoded.column,
      reason: encoded.reason,
    };
    return { row: null, keys: this.encodeKey(keyValues), refusal, names, nullKey: null };
  }

  /**
   * The key in all its spellings; a key that cannot be encoded was never in the target, so there is nothing to
   * delete.
   */
  private encodeKey(values: readonly SqliteValue[]): EncodedRow[] {
    const { row } = encodeRow(this.mapping.key, values);
    return row === null ? [] : [row, ...otherKeys(this.mapping, row)];
  }

  /** Counts rows whose key holds NULL, by IS: a primary key in the target cannot hold them. */
  private nullKey(values: readonly SqliteValue[]): NullKey {
    const where = this.keys.map((key) => `${key} IS ${EXACT_SLOT}`).join(" AND ");
    const copied = this.copied.sql === "" ? "" : ` AND ${this.copied.sql}`;
    const rows = preparedValue(
      this.db,
      `SELECT count(*) FROM ${fromTable(this.mapping.table)} WHERE ${where}${copied}`,
    ).get(...this.text.bindExactly(values), ...this.copied.values);
    const refusal = {
      table: this.mapping.table.name,
      key: keyText(values),
      column: this.mapping.key[values.indexOf(null)]?.column ?? null,
      reason: "the key is NULL, and a primary key refuses NULL",
    };
    return { refusal, rows: Number(rows) };
  }

  /** The key, its classes, whether the row exists, then the row in the exact form. */
  private exactColumns(): string {
    const key = exactValues(this.logKeys.map((k) => `d.${k}`));
    return `${key}, ${this.keys[0]} IS NOT NULL, ${exactList(this.mapping.columns)}`;
  }

  private narrowText(): string {
    const build = () =>
      `SELECT ${this.exactColumns()} FROM (${this.distinctKeys()}) AS d LEFT JOIN ${this.joined()}`;
    if (this.doubts || this.copied.sql !== "") return build();
    const text = narrowTexts.get(this.mapping) ?? build();
    narrowTexts.set(this.mapping, text);
    return text;
  }

  private distinctKeys(): string {
    const keys = this.logKeys.join(", ");
    const doubted = this.doubts ? ` UNION SELECT ${keys} FROM temp._switchback_doubted` : "";
    return `SELECT DISTINCT ${keys} FROM _switchback_log WHERE seq > ? AND seq <= ? AND t = ?${doubted}`;
  }

  private window(): unknown[] {
    return [this.after, this.to, this.followed.id];
  }

  /**
   * The join of touched keys to rows. Equality finds the row through its index. The second, binary equality excludes
   * a row whose key only the collation treats as equal.
   */
  private joined(): string {
    const equal = this.keys.flatMap((key, i) => [
      `${key} = d.${this.logKeys[i]}`,
      `${key} COLLATE BINARY = d.${this.logKeys[i]}`,
    ]);
    return `${fromTable(this.mapping.table)} ON ${[...equal, ...(this.copied.sql === "" ? [] : [this.copied.sql])].join(" AND ")}`;
  }
}
