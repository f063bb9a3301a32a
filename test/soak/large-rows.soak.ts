// A row of half a gigabyte in PostgreSQL, more than a string of JavaScript holds: seconds of work for the server.
import { expect, test } from "vitest";
import { eachRow, mappingOf, place, SCOPE } from "../support/postgres-source.js";

test("a row too large to be read is set aside by its key, alone and among others", async () => {
  const BLOB = mappingOf("blob", { id: "bigint", v: "bytea" }, ["id"]);
  const pair = await place(18, "CREATE TABLE blob (id bigint PRIMARY KEY, v bytea)", [BLOB]);
  const { app, source } = pair;
  try {
    const refused = [
      { table: "blob", key: "[1]", column: null, reason: expect.stringContaining("too large") },
    ];
    await app.query("INSERT INTO blob VALUES (1, decode(repeat('ab', 270000000), 'hex'))");
    const alone = await source.window(0, SCOPE);
    expect(alone?.tables).toMatchObject([{ refused, rows: { values: [] }, gone: { values: [] } }]);
    await alone?.close(false);
    await app.query("INSERT INTO blob VALUES (2, 'x')");
    const both = await source.window(0, SCOPE);
    expect(both?.tables[0]?.refused).toEqual(refused);
    const seen: unknown[] = [];
    for await (const row of eachRow(both?.tables[0]?.rows ?? { kind: "values", values: [] })) seen.push(row);
    expect(seen).toEqual([["2", "\\x78"]]);
    await both?.close(true);
  } finally {
    await pair.end();
  }
});
