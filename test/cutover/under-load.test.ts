// Writers in other processes follow the route through flip after flip: what was acknowledged to them is in both
// stores, once. SWITCHBACK_FLIPS raises the number of flips.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { effort } from "../support/effort.js";
import { drained, expectRoute, move, type Store, verify } from "../support/flips.js";
import { expectNothingLost, ROUTE_SCHEMA, routeWriters } from "../support/route-writers.js";
import { testDatabase } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";

const FLIPS = Number(process.env.SWITCHBACK_FLIPS ?? effort(4, 8));
const BETWEEN_MS = 250;

for (const [version, journal] of [
  [18, "wal"],
  [15, "delete"],
] as const) {
  const flips = journal === "wal" ? FLIPS : 2;
  test(
    `${flips} flips under four writers, ${journal} journal, PostgreSQL ${version}: nothing lost or doubled`,
    async () => {
      const file = testFile(ROUTE_SCHEMA, journal);
      const database = await testDatabase(version);
      const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
      const writers = routeWriters(sidecar, file.path, database.url, 4);
      try {
        await verify(sidecar);
        for (let epoch = 1; epoch <= flips; epoch++) {
          const to: Store = epoch % 2 === 1 ? "postgres" : "sqlite";
          const { epoch: said, pauseMs } = await move(sidecar, to);
          expect(said).toBe(epoch);
          expect(pauseMs).toBeGreaterThan(0);
          await expectRoute(sidecar, file.path, database, to, epoch);
          await sleep(BETWEEN_MS);
        }
        await Promise.all(writers.map((writer) => writer.stop()));
        await drained(sidecar, flips % 2 === 1 ? "postgres" : "sqlite");
        expect(writers.flatMap(({ others }) => others)).toEqual([]);
        for (const { acknowledged } of writers) {
          expect(acknowledged.sqlite).toBeGreaterThan(flips);
          expect(acknowledged.postgres).toBeGreaterThan(flips);
        }
        await expectNothingLost(file.path, database, writers);
        const metrics = await sidecar.metrics();
        expect(metrics.get('switchback_epoch{source="app"}')).toBe(flips);
        expect(metrics.get('switchback_flips_total{source="app",result="flipped"}')).toBe(flips);
      } finally {
        for (const writer of writers) writer.kill();
        await sidecar.remove();
        await database.drop();
        file.remove();
      }
    },
    60_000 + FLIPS * 3_000,
  );
}
