// What must hold before the writes may move, each with its reason in words. Only what the sidecar knows and the
// target records is read; nothing is changed.
import type pg from "pg";
import type { Config, PostgresConfig, SourceConfig } from "../config/config.js";
import { withSession } from "../postgres/connection.js";
import { inWords, readUnknown } from "../postgres/copy-doubts.js";
import { compareShapes } from "../postgres/ddl/compare-shapes.js";
import { describeDifference } from "../postgres/ddl/shape-difference.js";
import { Records, type VerificationRecord } from "../postgres/records.js";
import type { Status } from "../status.js";

/** Why a cutover may not be now, or null. */
export async function cutoverObstacle(
  status: Status,
  config: Config,
  postgres: PostgresConfig,
): Promise<string | null> {
  if (status.phase !== "streaming") return `the phase is ${status.phase}, not streaming`;
  const common = standing(status, config);
  if (common !== null) return common;
  // Opening a session also shows that the server takes writes.
  return withSession(postgres, "switchback preconditions", async (client) => {
    const records = new Records(client);
    const missing = await leftOut(records, status);
    if (missing !== null) return missing;
    const unknown = await unsettled(client, status);
    if (unknown !== null) return unknown;
    const { sources } = config;
    for (const { name } of status.sources) {
      const unlike = await otherShape(
        client,
        records,
        sources.find((source) => source.name === name),
      );
      if (unlike !== null) return unlike;
      const unproven = notVerified(name, await records.verification(name), config.cutover.requireVerifyMs);
      if (unproven !== null) return unproven;
    }
    return null;
  });
}

/** Why a revert may not be now, or null. Going back asks for no comparison: it must be possible in a hurry. */
export async function revertObstacle(
  status: Status,
  config: Config,
  postgres: PostgresConfig,
): Promise<string | null> {
  if (status.phase !== "reverse_streaming") return `the phase is ${status.phase}, not reverse_streaming`;
  const common = standing(status, config);
  if (common !== null) return common;
  return withSession(postgres, "switchback preconditions", async (client) => {
    const missing = await leftOut(new Records(client), status);
    if (missing !== null) return missing;
    return await unsettled(client, status);
  });
}

/** All sources of a database move together: one that stayed behind would have two open stores, or lose its writes. */
async function leftOut(records: Records, status: Status): Promise<string | null> {
  const mine = new Set(status.sources.map(({ name }) => name));
  const missing = (await records.sourceNames()).find((name) => !mine.has(name));
  if (missing === undefined) return null;
  return `source ${missing} is in this database but not in the configuration: add it, or take it out with \`switchback teardown\``;
}

/** The application would meet another schema than its own: other defaults, other constraints. */
async function otherShape(
  client: pg.ClientBase,
  records: Records,
  source: SourceConfig | undefined,
): Promise<string | null> {
  if (!source) return null;
  const found = await compareShapes(client, source.target, await records.followed(source.name));
  const [first] = found;
  if (!first) return null;
  const more = found.length === 1 ? "" : `, and ${found.length - 1} more: \`switchback verify\` names all`;
  return `PostgreSQL's table is not what a fresh copy would be: ${describeDifference(first)}${more}`;
}

/** What a comparison has to settle first. Read here: the sidecar looks only now and then whether one has. */
async function unsettled(client: pg.ClientBase, status: Status): Promise<string | null> {
  for (const { name } of status.sources) {
    const [unknown] = await readUnknown(client, name);
    if (!unknown) continue;
    const command = unknown.code === "TARGET_DISTURBED" ? "switchback verify" : "switchback verify --repair";
    return `${inWords(unknown)}: run \`${command}\``;
  }
  return null;
}

function standing(status: Status, config: Config): string | null {
  const late = status.sources.find(({ lag }) => lag.seconds * 1_000 > config.cutover.maxLagMs);
  if (late) {
    const { name, lag } = late;
    return `${name} is ${lag.seconds} s behind, and cutover.max_lag is ${config.cutover.maxLagMs / 1_000} s`;
  }
  const own = new Set([
    ...["FLIP_REFUSED", "FLIP_RETREATED", "FLAG_UNREADABLE"],
    // Recorded in PostgreSQL, and read there.
    ...["COPY_UNKNOWN", "CHANGE_UNREADABLE", "TARGET_DISTURBED"],
  ]);
  const problem = status.problems.find(({ code }) => !own.has(code));
  return problem ? problem.message : null;
}

function notVerified(source: string, found: VerificationRecord | null, maxAgeMs: number): string | null {
  if (!found) return `${source} was never verified: run \`switchback verify\``;
  if (!found.equal) {
    const rows = found.different === 1 ? "1 row that differs" : `${found.different} rows that differ`;
    return `the last verification of ${source} found ${rows} or cannot be held: repair what \`switchback verify\` names and run it again`;
  }
  const ageMs = Date.now() - Date.parse(found.at);
  if (ageMs <= maxAgeMs) return null;
  const words = (ms: number) =>
    ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} min`;
  return `the last verification of ${source} is ${words(ageMs)} old, and cutover.require_verify is ${words(maxAgeMs)}: run \`switchback verify\``;
}
