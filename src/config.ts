// The configuration, resolved: options > environment > file > defaults, every problem reported at once, frozen.
export interface ColumnConfig {
  /** A PostgreSQL type the mapping knows: uuid, boolean, timestamptz, jsonb, numeric(10,2), varchar(50) … */
  readonly type?: string;
  /** How SQLite spells a moment: text | unix | unix_ms | julian. */
  readonly from?: "text" | "unix" | "unix_ms" | "julian";
  /** The target column. */
  readonly name?: string;
}

export interface TableConfig {
  readonly name?: string;
  readonly columns: Readonly<Record<string, ColumnConfig>>;
}

export interface SourceConfig {
  readonly name: string;
  /** Absolute path. */
  readonly sqlite: string;
  readonly schema: string;
  readonly target: "create" | "adopt";
  /** keep: VARCHAR(n) becomes varchar(n); drop: text. */
  readonly lengths: "keep" | "drop";
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly tables: Readonly<Record<string, TableConfig>>;
}

/** What pg's Client needs; the password never leaves this object. */
export interface PostgresConfig {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  readonly ssl: boolean | { readonly rejectUnauthorized: boolean };
  readonly maxConnections: number;
}

export interface Config {
  /** The configuration file's absolute path, or null. */
  readonly file: string | null;
  readonly sources: readonly SourceConfig[];
  /** Null with `embedded`, until the server is started. */
  readonly postgres: PostgresConfig | null;
  readonly embedded: boolean;
  readonly flagFile: string;
  readonly routeFile: string;
  readonly http: { readonly host: string; readonly port: number } | null;
  readonly token: string | null;
  readonly backfill: { readonly workers: number };
  readonly cutover: { readonly maxLagMs: number; readonly timeoutMs: number; readonly requireVerifyMs: number };
}
