// What a hostile run does: the application's migrations and writes, rows that are refused, kills and locks, and the list
// of all kinds.
import { setTimeout as sleep } from "node:timers/promises";
import { migrate } from "../random-schema.js";
import { flipKinds } from "./flips.js";
import { type Kind, of } from "./kind.js";
import { objectKinds } from "./objects.js";
import { outsiderKinds } from "./outsiders.js";
import { Wrong } from "./settle.js";
import { strike } from "./strike.js";
import { surroundingKinds } from "./surroundings.js";
import { swapKinds } from "./swaps.js";
import type { World } from "./world.js";

/** What a constraint, a fence in a flip or a type may say to a random write. */
const REFUSED_WRITE = /constraint|writes have moved|locked|datatype|^(22|23|25006|40|55P03)/i;

const migrateKind: Kind = {
  name: "migrate",
  weight: 8,
  plan(world, pick, schema) {
    if (world.writes !== "sqlite") return null;
    const { statements, undo } = schema.migration();
    pick(2);
    return { operation: { op: "migrate", statements }, undo };
  },
  async perform(world, { statements }) {
    if (world.writes !== "sqlite") return false;
    for (const code of ["CAPTURE_LOST", "SHAPE_DIFFERS", "TARGET_MISMATCH"]) world.suspects.add(code);
    return migrate(world.connection, statements as string[]);
  },
};

const trafficKind: Kind = {
  name: "traffic",
  weight: 10,
  plan(_, pick, schema) {
    const table = of(pick, ["one", "two"]);
    const { plain } = schema.columnsOf(table);
    const statements: string[] = [];
    for (let n = 1 + pick(6); n > 0; n--) {
      const key = pick(300);
      statements.push(
        of(pick, [
          `INSERT INTO ${table} (id, v, n) VALUES (${key}, 'w${pick(50)}', ${pick(3) + 1}) ON CONFLICT DO NOTHING`,
          `INSERT INTO ${table} (id, v, n) VALUES (${key}, 'é€${pick(50)}', NULL) ON CONFLICT DO NOTHING`,
          `UPDATE ${table} SET v = 'u${pick(50)}' WHERE id = ${key}`,
          `UPDATE ${table} SET ${of(pick, plain)} = ${pick(4) + 1} WHERE id % 5 = ${pick(5)}`,
          `UPDATE ${table} SET id = id + 1000 WHERE id = ${key}`,
          `DELETE FROM ${table} WHERE id % 17 = ${pick(17)}`,
          `UPDATE kind SET i = i + 1, r = r * 1.25, t = '${pick(99)}' WHERE id % 50 = ${pick(50)} AND id < 1000`,
          "UPDATE kind SET i = -i WHERE id < 1000",
          `DELETE FROM kind WHERE id = ${pick(40) + 1}`,
          `UPDATE parent SET v = 'p${pick(9)}' WHERE id = ${pick(3) + 1}`,
        ]),
      );
    }
    return { operation: { op: "traffic", statements } };
  },
  async perform(world, { statements }) {
    for (const statement of statements as string[]) {
      const error = world.writes === "sqlite" ? world.sqlite(statement) : await world.postgres(statement);
      if (error && !REFUSED_WRITE.test(error)) throw new Wrong(`${statement}: ${error}`);
    }
    return true;
  },
};

/** Column and value that the other store cannot hold, as SQL of the store that has the writes. */
const UNFIT = {
  sqlite: [
    ["i", "'abc'"],
    ["i", "1.5"],
    ["r", "'abc'"],
    ["t", "CAST(INVALID AS TEXT)"],
    ["t", "char(97, 0, 98)"],
    ["t", "x'00ff'"],
    ["b", "'text'"],
    ["f", "7"],
    ["d", "'nonsense'"],
    ["j", "'{broken'"],
  ],
  postgres: [
    ["d", "'infinity'"],
    ["r", "'NaN'"],
    ["x", `'{"a": [1]}'`],
  ],
} as const;

/** Bytes that are no text, by the file's encoding: half of a pair, or a byte that begins nothing. */
const INVALID = {
  "UTF-8": "x'61ff62'",
  "UTF-16le": "x'610000d86200'",
  "UTF-16be": "x'0061d8000062'",
} as const;

const refuseKind: Kind = {
  name: "refuse",
  weight: 3,
  plan(world, pick) {
    if (world.refused.size >= 2) return null;
    const [column, unfit] = of<readonly [string, string]>(pick, UNFIT[world.writes]);
    const value = unfit.replace("INVALID", INVALID[world.setting.encoding]);
    return { operation: { op: "refuse", id: 1000 + pick(100_000), column, value, store: world.writes } };
  },
  async perform(world, { id, column, value, store }) {
    if (world.writes !== store || world.refused.size >= 3) return false;
    const statement = `INSERT INTO kind (id, ${column}) VALUES (${id}, ${value})`;
    const error = store === "sqlite" ? world.sqlite(statement) : await world.postgres(statement);
    if (error) throw new Wrong(`${statement}: ${error}`);
    world.refused.set(id as number, world.writes);
    return true;
  },
};

const mendKind: Kind = {
  name: "mend",
  weight: 3,
  plan(world, pick) {
    const ids = [...world.refused.keys()];
    if (ids.length === 0) return null;
    return { operation: { op: "mend", id: of(pick, ids), how: of(pick, ["update", "delete"]) } };
  },
  async perform(world, { id, how }) {
    if (!world.refused.has(id as number)) return false;
    await mend(world, id as number, how as "update" | "delete");
    return true;
  },
};

async function mend(world: World, id: number, how: "update" | "delete"): Promise<void> {
  const set = "i = 1, r = 1.5, t = 'mended', b = NULL, f = NULL, d = NULL, j = NULL, x = NULL";
  const statement =
    how === "update" ? `UPDATE kind SET ${set} WHERE id = ${id}` : `DELETE FROM kind WHERE id = ${id}`;
  const error = world.writes === "sqlite" ? world.sqlite(statement) : await world.postgres(statement);
  if (error) throw new Wrong(`${statement}: ${error}`);
  world.refused.delete(id);
  // Until the corrected row has arrived.
  world.suspects.add("QUARANTINED").add("NOT_EQUAL");
}

/** Everything that was refused on purpose is corrected. */
export async function mendAll(world: World): Promise<void> {
  for (const id of [...world.refused.keys()]) await mend(world, id, "update");
}

const killKind: Kind = {
  name: "kill",
  weight: 6,
  plan(_, pick) {
    const what = of(pick, [
      "sidecar",
      "sidecar",
      "sidecar-term",
      "writers",
      "sessions",
      "all-sessions",
      "server",
      "frozen",
    ]);
    return { operation: { op: "kill", what, afterMs: pick(80) } };
  },
  async perform(world, { what, afterMs }) {
    await sleep(afterMs as number);
    await strike(world, what as string);
    return true;
  },
};

const checkpointKind: Kind = {
  name: "maintain",
  weight: 2,
  plan: (_, pick) => ({
    operation: {
      op: "maintain",
      statement: of(pick, [
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "VACUUM",
        "ANALYZE",
        "REINDEX",
        "PRAGMA optimize",
        "PRAGMA user_version = 7",
      ]),
    },
  }),
  async perform(world, { statement }) {
    // Each may change the schema version, by which VACUUM is noticed.
    if (world.writes === "postgres") world.whileAway.add("COPY_UNKNOWN");
    return world.sqlite(statement as string) === null;
  },
};

/** Long transactions of the application in either store. */
const lockKind: Kind = {
  name: "lock",
  weight: 3,
  plan: (_, pick) => ({
    operation: {
      op: "lock",
      where: of(pick, ["sqlite-write", "sqlite-read", "postgres-table", "postgres-rows"]),
      ms: 50 + pick(500),
    },
  }),
  async perform(world, { where, ms }) {
    const end = async () => {
      await sleep(ms as number);
    };
    if (where === "sqlite-write" || where === "sqlite-read") {
      const begun = world.sqlite(
        where === "sqlite-read" ? "BEGIN; SELECT count(*) FROM op" : "BEGIN IMMEDIATE",
      );
      if (begun) return false;
      await end();
      return world.sqlite("COMMIT") === null;
    }
    const lock =
      where === "postgres-table"
        ? "BEGIN; LOCK TABLE latest IN ACCESS EXCLUSIVE MODE"
        : "BEGIN; SELECT * FROM counter FOR UPDATE";
    if (await world.postgres(lock)) return false;
    await end();
    return (await world.postgres("COMMIT")) === null;
  },
};

export const KINDS: readonly Kind[] = [
  migrateKind,
  trafficKind,
  refuseKind,
  mendKind,
  killKind,
  checkpointKind,
  lockKind,
  ...flipKinds,
  ...objectKinds,
  ...outsiderKinds,
  ...swapKinds,
  ...surroundingKinds,
];
