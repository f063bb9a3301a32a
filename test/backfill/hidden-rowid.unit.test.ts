// Tables whose columns hide every name of the rowid are read by their primary key: each row once, in every range.
import { afterEach, expect, test } from "vitest";
import type { SourceConfig } from "#switchback/config/config.js";
import { decideMappings } from "#switchback/mapping/decide.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { readRange } from "#switchback/sqlite/source/range-reader.js";
import { cutRanges } from "#switchback/sqlite/source/ranges.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SOURCE: SourceConfig = {
  ...{ name: "app", sqlite: "/app.db", schema: "public", target: "create", lengths: "drop" },
  ...{ include: ["*"], exclude: [], tables: {} },
};
const ROWS = 20_000;

let file: TestFile;
afterEach(() => file.remove());

test.each([
  ["a text key, and NULL where the rowid would be", "id TEXT PRIMARY KEY", "'k' || n, NULL, NULL, NULL"],
  ["a text key, and equal values there", "id TEXT PRIMARY KEY", "'k' || n, 1, 1, 1"],
  ["an integer key, which is the rowid", "id INTEGER PRIMARY KEY", "n, 1, 1, 1"],
])("every name of the rowid is hidden: %s", (_what, key, values) => {
  file = testFile(`
    CREATE TABLE t(${key}, rowid, _rowid_, oid);
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${ROWS})
    INSERT INTO t SELECT ${values} FROM c;`);
  const db = openSqlite(file.path, { readonly: true });
  try {
    const { mappings } = decideMappings(db, readSchema(db), SOURCE);
    for (const mapping of mappings) {
      for (const rowsPerRange of [ROWS, 3_000]) {
        const ids = cutRanges(db, mapping.table, ROWS, rowsPerRange).flatMap((range) =>
          [...readRange(db, mapping, range)].flatMap(({ csv }) =>
            csv
              .toString()
              .trimEnd()
              .split("\n")
              .map((line) => line.split(",")[0]),
          ),
        );
        expect([ids.length, new Set(ids).size]).toEqual([ROWS, ROWS]);
      }
    }
  } finally {
    db.close();
  }
});
