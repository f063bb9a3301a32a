// The start of a sidecar. It reads from both stores' own records who has the writes, and finishes or takes back a
// flip that a crash interrupted. It refuses stores that do not belong together. The rules are recovery.ts's; here
// they meet the stores.
import type { Logger } from "pino";
import type { PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import { withSession } from "../postgres/connection.js";
import { PostgresGate } from "../postgres/gate.js";
import { claimRecord } from "../postgres/gate-transaction.js";
import {
  closedFence,
  copiedFromAnother,
  type FollowedTable,
  Records,
  type SourceRecord,
} from "../postgres/records.js";
import { at, only } from "../present.js";
import { type FileRecord, type FileStep, type Recovery, recover } from "../protocol/recovery.js";
import { SqliteGate } from "../sqlite/gate.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import type { Route } from "../status.js";
import { adoptFiles } from "./adopt-file.js";
import { foreign, pairOf, strangers } from "./pair.js";

interface Known {
  readonly source: SqliteSource;
  readonly record: SourceRecord;
  readonly tables: readonly FollowedTable[];
}

/** PostgreSQL stores the words of the route; recovery.ts names no engine. No other file translates them. */
const RECORDED = { sqlite: "file", paused: "paused", postgres: "database" } as const;

/**
 * Sets both stores' states right. Resolves to the route, which is never `paused`.
 * @throws SwitchbackError SPLIT, TARGET_FOREIGN, SOURCE_FOREIGN; both stores stay closed then
 */
export async function resume(
  postgres: PostgresConfig,
  owner: string,
  sources: readonly SqliteSource[],
  log: Logger,
  /** Files that belong to another database are moved to this one. */
  adopt = false,
): Promise<Route> {
  return withSession(postgres, "switchback recovery", async (client) => {
    const records = new Records(client);
    const names = sources.map(({ name }) => name);
    const files = sources.map(({ name, file }) => ({ name, sqlite: file }));
    const { here, strange } = await strangers(client, postgres, files);
    if (adopt) await adoptFiles({ records, here, sources, strange, owner, log });
    else if (strange[0]) throw foreign(strange[0]);
    // The states first: a sidecar that claims them later has also read PostgreSQL's record later.
    const mine = await readKnown(records, sources);
    await upgradeFiles(mine, owner);
    await withGate(mine, owner, (gate) => gate.belong(pairOf(here)));
    for (const source of sources) source.pair = pairOf(here);
    await claimFiles(mine, owner);
    const found = await claimRecord(client, names, owner);
    const known = await readKnown(records, sources);
    refuseStrangers(sources, known, found, owner);
    const gates = known.map(({ source }) => new SqliteGate([source], owner));
    try {
      const files = gates.flatMap((gate) => gate.states());
      const plan = recover({ writes: RECORDED[found.writes], epoch: found.epoch }, files);
      if (plan.writes === null) {
        for (const i of plan.close) await at(gates, i, "gate").closeAnyway(0, found.epoch);
        if (plan.closeDatabase)
          await records.query(closedFence(Math.max(...files.map(({ epoch }) => epoch))));
        throw split(plan.file, known, files, found);
      }
      // A file that is about to be opened as the newest must be the copy that was kept.
      for (const [i, step] of plan.files.entries()) {
        if (step === "open") checkCopy(at(known, i, "source"), at(files, i, "file").position);
      }
      await carryOutAll(plan, known, gates, postgres, owner, log);
      if (plan.writes === "database") {
        for (const [i, one] of known.entries()) checkCopy(one, at(files, i, "file").position);
      }
      const route = await records.route();
      return {
        writes: plan.writes === "file" ? "sqlite" : "postgres",
        epoch: plan.epoch,
        changedAt: route.changedAt,
      };
    } finally {
      for (const gate of gates) gate.dispose();
    }
  });
}

async function carryOutAll(
  plan: Extract<Recovery, { epoch: number }>,
  known: readonly Known[],
  gates: readonly SqliteGate[],
  postgres: PostgresConfig,
  owner: string,
  log: Logger,
): Promise<void> {
  const sources = known.map(({ source, tables }) => ({ name: source.name, tables }));
  const postgresGate = await PostgresGate.open(postgres, owner, sources);
  try {
    // It may have been closed by a start that found stores which did not fit.
    if (plan.writes === "database" && plan.database === "none") await postgresGate.assertOpen();
    if (plan.database === "reopen") {
      log.warn(
        { epoch: plan.epoch },
        "a revert was cut short before it was decided; PostgreSQL takes the writes again",
      );
      await postgresGate.reopen(plan.epoch);
    }
    for (const [i, step] of plan.files.entries()) {
      await carryOut(step, at(known, i, "source"), at(gates, i, "gate"), postgresGate, plan.epoch, log);
    }
  } finally {
    await postgresGate.dispose();
  }
}

async function carryOut(
  step: FileStep,
  { source, tables }: Known,
  gate: SqliteGate,
  postgresGate: PostgresGate,
  epoch: number,
  log: Logger,
): Promise<void> {
  const note = (text: string) => log.warn({ source: source.name, epoch }, text);
  switch (step) {
    case "none":
      return;
    case "reopen":
      note("a cutover was cut short before it was decided; SQLite takes the writes again");
      return gate.reopen(epoch);
    case "left":
      note("a cutover was cut short after it was decided; PostgreSQL has the writes");
      source.know(tables.map(({ mapping }) => mapping));
      return gate.left(epoch);
    case "open":
      note("a revert was cut short after it was decided; SQLite takes the writes");
      source.know(tables.map(({ mapping }) => mapping));
      return gate.open(epoch, await postgresGate.marks());
  }
}

/** Files that an earlier version installed into get the records that this one knows. */
async function upgradeFiles(known: readonly Known[], owner: string): Promise<void> {
  const tables = new Map(
    known.map((one) => [one.source.name, one.tables.map(({ mapping }) => mapping.table)]),
  );
  await withGate(known, owner, (gate) => gate.upgrade(tables));
}

/** Only those that belong to this database: another's sidecar may be at work with the rest. */
async function claimFiles(known: readonly Known[], owner: string): Promise<void> {
  await withGate(known, owner, (gate) => gate.claim());
}

async function withGate(
  known: readonly Known[],
  owner: string,
  work: (gate: SqliteGate) => Promise<void>,
): Promise<void> {
  const gate = new SqliteGate(
    known.map(({ source }) => source),
    owner,
  );
  try {
    await work(gate);
  } finally {
    gate.dispose();
  }
}

async function readKnown(records: Records, sources: readonly SqliteSource[]): Promise<Known[]> {
  const known: Known[] = [];
  for (const source of sources) {
    const record = await records.source(source.name);
    if (!record) continue;
    if (source.recordedIdentity() !== record.identity) {
      throw copiedFromAnother(source, record.file);
    }
    known.push({ source, record, tables: await records.followed(source.name) });
  }
  return known;
}

/** A file that this database knows nothing of may come in only while the writes are in SQLite, its own too. */
function refuseStrangers(
  sources: readonly SqliteSource[],
  known: readonly Known[],
  found: { writes: string; epoch: number },
  owner: string,
): void {
  for (const source of sources) {
    if (known.some((one) => one.source === source)) continue;
    const where = { source: source.name, file: source.file };
    if (found.writes !== "sqlite") {
      throw new SwitchbackError(
        "WRITES_AWAY",
        `source ${source.name} is new, and can be added only while writes go to SQLite; they go to ${found.writes}`,
        where,
      );
    }
    if (source.recordedIdentity() === null) continue;
    const state = stateOf(source, owner);
    if (state.closed) {
      throw new SwitchbackError(
        "SPLIT",
        `${source.file} has moved its writes to a PostgreSQL database (epoch ${state.epoch}), but not to this one`,
        where,
      );
    }
  }
}

/** While the file is a copy, nothing is logged in it, and its position only advances. */
function checkCopy({ source, record, tables }: Known, reached: number): void {
  source.attach(tables.map(({ mapping }) => mapping));
  if (reached < record.consumed) {
    throw new SwitchbackError(
      "SPLIT",
      `${source.file} holds ${reached} of PostgreSQL's changes, but ${record.consumed} were carried to it: it is a backup`,
      { source: source.name, file: source.file },
    );
  }
  const newest = source.position();
  const same =
    record.position === 0 || record.mark === null || source.markAt(record.position) === record.mark;
  if (newest === record.position && same) return;
  throw new SwitchbackError(
    "SPLIT",
    `${source.file} was written to while PostgreSQL had the writes, or is a backup: its change log ends at ${newest}, not at ${record.position}`,
    { source: source.name, file: source.file },
  );
}

function stateOf(source: SqliteSource, owner: string): FileRecord {
  const gate = new SqliteGate([source], owner);
  try {
    return only(gate.states(), "file");
  } finally {
    gate.dispose();
  }
}

/** `misfit` is the place of the file that does not fit; null when PostgreSQL's record contradicts itself. */
function split(
  misfit: number | null,
  known: readonly Known[],
  files: readonly FileRecord[],
  found: { writes: string; epoch: number },
): Error {
  const recorded = `PostgreSQL records that writes go to ${found.writes} (epoch ${found.epoch})`;
  if (misfit === null)
    return new SwitchbackError("SPLIT", `${recorded}, which no cutover or revert leads to`);
  const { name, file } = at(known, misfit, "source").source;
  const record = at(files, misfit, "file");
  const both = found.writes === "sqlite" && !record.closed;
  return new SwitchbackError(
    "SPLIT",
    `${recorded}, but ${file} is ${record.closed ? "closed" : "open"} under epoch ${record.epoch}${both ? BOTH_ON_SQLITE : ""}`,
    { source: name, file },
  );
}

const BOTH_ON_SQLITE =
  ". Both say that SQLite has the writes: `switchback run --adopt-file` continues from the SQLite file as it is";
