// What has been committed to the store that has the writes, asked of the store itself. What a sidecar says of it may
// be a look from before the last commit.
import Database from "better-sqlite3";
import pg from "pg";

export type Store = "sqlite" | "postgres";

/** The stores of a sidecar, as its configuration names them. */
export interface Stores {
  readonly sources: readonly { readonly name: string; readonly sqlite: string }[];
  readonly url: string;
}

/** The newest position of every source, by its name. */
export async function committed({ sources, url }: Stores, store: Store): Promise<Map<string, number>> {
  return store === "postgres"
    ? inPostgres(url)
    : new Map(sources.map(({ name, sqlite }) => [name, inSqlite(sqlite)]));
}

function inSqlite(path: string): number {
  const db = new Database(path, { readonly: true });
  try {
    return Number(db.prepare("SELECT coalesce(max(seq), 0) FROM _switchback_log").pluck().get());
  } finally {
    db.close();
  }
}

async function inPostgres(url: string): Promise<Map<string, number>> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string; position: string }>(
      `SELECT s.name, s.consumed + (SELECT count(*) FROM switchback.change c
                                      JOIN switchback.followed f ON f.id = c.t
                                     WHERE f.source = s.name) AS position
         FROM switchback.source s`,
    );
    return new Map(rows.map(({ name, position }) => [name, Number(position)]));
  } finally {
    await client.end();
  }
}
