// Older states of a store, taken and put back: a PostgreSQL database as a copy of itself on the same server, a SQLite
// file as its own backup writes it. No one may be connected while a copy is put back.
import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { OwnServer, TestDatabase } from "./servers.js";
import type { TestFile } from "./sqlite.js";

async function administer(server: OwnServer, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: server.url() });
  await client.connect();
  try {
    for (const text of statements) await client.query(text);
  } finally {
    await client.end();
  }
}

/** Copies the database, throwing everybody out; the copy's name. No sidecar may run, which would come back immediately. */
export async function copyDatabase(server: OwnServer, { name }: TestDatabase, suffix = ""): Promise<string> {
  await administer(server, [
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}' AND pid <> pg_backend_pid()`,
    `CREATE DATABASE ${name}_copy${suffix} TEMPLATE ${name}`,
  ]);
  return `${name}_copy${suffix}`;
}

/** Brings the database back to what it was when `copy` was made of it, also under open connections. */
export async function restoreDatabase(
  server: OwnServer,
  { name }: TestDatabase,
  copy: string,
): Promise<void> {
  await administer(server, [
    `DROP DATABASE ${name} WITH (FORCE)`,
    `CREATE DATABASE ${name} TEMPLATE ${copy}`,
  ]);
}

/** Stops the server, runs `work` on its data directory and starts it again. */
async function whileStopped(server: OwnServer, work: () => void): Promise<void> {
  await server.stop("fast");
  work();
  await server.start();
}

/** A copy of the whole server's files, beside them. */
export function copyServer(server: OwnServer): Promise<void> {
  return whileStopped(server, () => {
    rmSync(`${server.data}.copy`, { recursive: true, force: true });
    execFileSync("cp", ["-a", server.data, `${server.data}.copy`]);
  });
}

/** Brings the whole server back to its copy, also under sessions that wait for it. */
export function restoreServer(server: OwnServer): Promise<void> {
  return whileStopped(server, () => {
    rmSync(server.data, { recursive: true, force: true });
    execFileSync("cp", ["-a", `${server.data}.copy`, server.data]);
  });
}

/** A consistent copy, as SQLite's own backup makes it. */
export function copyFile(file: TestFile): string {
  const copy = join(file.folder, "backup.db");
  const db = file.writer();
  db.exec(`VACUUM INTO '${copy}'`);
  db.close();
  return copy;
}

/** In place, as `cp backup.db app.db` with no one connected. */
export function restoreFile(file: TestFile, copy: string): void {
  for (const end of ["-wal", "-shm"]) rmSync(file.path + end, { force: true });
  copyFileSync(copy, file.path);
}
