// What a sidecar serves, and whether that is what a command means. Two applications may share a folder, a route file
// or an HTTP address, and a command must never act on the other one's sidecar.
import { realpathSync, statSync } from "node:fs";
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import { addressOf } from "../config/postgres.js";
import { SwitchbackError } from "../errors.js";
import { withSession } from "../postgres/connection.js";
import { type DatabaseIdentity, readDatabaseIdentity } from "../postgres/pair.js";
import type { Served } from "../status.js";

type ServedSource = Pick<SourceConfig, "name" | "sqlite">;

export function servedBy(
  sources: readonly ServedSource[],
  postgres: PostgresConfig,
  id: string | null = null,
): Served {
  return {
    sources: sources.map(({ name, sqlite }) => ({ name, ...placeOf(sqlite) })),
    database: { address: addressOf(postgres), id },
  };
}

/** A path may be another one in another container; the file is the same all the same. */
function placeOf(path: string): { file: string; inode: string } {
  try {
    const file = realpathSync(path);
    const { dev, ino } = statSync(file);
    return { file, inode: `${dev}:${ino}` };
  } catch {
    return { file: path, inode: "" };
  }
}

type Sources = Served["sources"];

/** True when every source of the first is one of the second's. */
export function within(some: Sources, all: Sources): boolean {
  return some.every((one) =>
    all.some(
      ({ name, file, inode }) =>
        name === one.name && (file === one.file || (inode !== "" && inode === one.inode)),
    ),
  );
}

export function sameSources(a: Served, b: Served): boolean {
  return within(a.sources, b.sources) && within(b.sources, a.sources);
}

/**
 * Whether the configured database is the sidecar's. Another spelling of its address is looked up.
 * @throws SwitchbackError POSTGRES_* when an address that is spelled otherwise cannot be reached
 */
export async function sameDatabase(postgres: PostgresConfig, theirs: Served): Promise<boolean> {
  if (addressOf(postgres) === theirs.database.address) return true;
  return withSession(postgres, "switchback identity", async (client) => {
    const { id }: DatabaseIdentity = await readDatabaseIdentity(client, postgres);
    return id !== null && id === theirs.database.id;
  });
}

export function described({ sources, database }: Served): string {
  return `${sources.map(({ name, file }) => `${name} (${file})`).join(", ")} and ${database.address}`;
}

/** @throws SwitchbackError OTHER_SIDECAR; POSTGRES_* as sameDatabase */
export async function assertServes(
  theirs: Served | undefined,
  mine: { readonly sources: readonly ServedSource[]; readonly postgres: PostgresConfig },
  where: string,
): Promise<void> {
  if (theirs === undefined)
    throw new SwitchbackError(
      "OTHER_SIDECAR",
      `the sidecar ${where} does not say what it serves, as earlier versions do: restart it with this one`,
    );
  const own = servedBy(mine.sources, mine.postgres);
  if (sameSources(own, theirs) && (await sameDatabase(mine.postgres, theirs))) return;
  throw new SwitchbackError(
    "OTHER_SIDECAR",
    `the sidecar ${where} serves ${described(theirs)}; this configuration is about ${described(own)}`,
  );
}
