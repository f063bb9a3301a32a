// Writes a batch in pieces down to single rows, because some row in it is at fault. What PostgreSQL refuses is named
// by its key, and every other row is written. Runs within a transaction of the caller's.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { encodedKeyText, keyIndexes } from "../../mapping/row-format.js";
import type { EncodedRow, RefusedRow } from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";
import { copyInto } from "./copy.js";
import { countMismatch } from "./counts.js";
import { keepDeleted } from "./kept-columns.js";
import { deleteRows, type TargetFacts, writeRows } from "./merge.js";
import { arrayRelation, arraysOf, copyArrayStage, createArrayStage } from "./staged-rows.js";
import { rivalsOf } from "./unique-rivals.js";

export interface Written {
  readonly written: number;
  readonly refused: readonly RefusedRow[];
  /** Keys of other rows, which hold a unique value of a row that was refused for it. */
  readonly rivals?: readonly EncodedRow[];
}

/** unique_violation, exclusion_violation. */
const DUPLICATE = /^23(505|P01)$/;

/** Refused rows named at a time. */
const NAMES = 10_000;

/** `stage` is a name for a temporary table that nothing else in the transaction has. */
export async function writeRowByRow(
  client: pg.Client,
  mapping: TableMapping,
  known: TargetFacts,
  stage: string,
  csv: AsyncIterable<Uint8Array>,
): Promise<Written> {
  const facts = { ...known, upserts: false };
  let sent = 0;
  await client.query(createArrayStage(stage));
  const staged = await copyInto(
    client,
    copyArrayStage(stage),
    arraysOf(csv, (rows) => {
      sent += rows;
    }),
  );
  if (staged !== sent)
    throw countMismatch(mapping, `${sent} rows were sent to be staged, and ${staged} arrived`);
  await client.query(`CREATE UNIQUE INDEX ON pg_temp.${quote(stage)} (n)`);
  const rows = (where: string) => {
    const arrays = `(SELECT s.v FROM pg_temp.${quote(stage)} AS s${where}) AS w`;
    return `${arrayRelation(mapping.columns, "w.v", arrays, false)} AS x`;
  };
  // Every present version goes first: keys always read back, because they were encoded by their own codecs.
  let kept = "";
  if (facts.own.length > 0) {
    const source = { relation: rows(""), typed: false, rows: staged };
    kept = await keepDeleted(client, mapping, facts, stage, source);
  } else {
    await client.query(deleteRows(mapping, facts, rows(""), false), [mapping.table.name, staged]);
  }
  const { rows: failures } = await client.query<{ n: string; state: string; reason: string }>(
    "SELECT n, state, reason FROM switchback.insert_staged($1, $2)",
    [writeRows(mapping, facts, rows(" WHERE s.n BETWEEN $1 AND $2 ORDER BY s.n"), false, kept), staged],
  );
  const refused = await named(client, mapping, stage, failures);
  const duplicates = failures.filter(({ state }) => DUPLICATE.test(state)).map(({ n }) => n);
  const rivals = duplicates.length === 0 ? [] : await rivalsOf(client, mapping, facts, stage, duplicates);
  return { written: staged - refused.length, refused, rivals };
}

async function named(
  client: pg.Client,
  mapping: TableMapping,
  stage: string,
  failures: readonly { n: string; reason: string }[],
): Promise<RefusedRow[]> {
  const refused: RefusedRow[] = [];
  const key = keyIndexes(mapping).map((i) => `s.v[${i + 1}]`);
  for (let from = 0; from < failures.length; from += NAMES) {
    const few = failures.slice(from, from + NAMES);
    const { rows } = await client.query<{ n: string; key: (string | null)[] }>(
      `SELECT s.n, ARRAY[${key.join(", ")}] AS key FROM pg_temp.${quote(stage)} AS s WHERE s.n = ANY ($1::bigint[])`,
      [few.map(({ n }) => n)],
    );
    const keys = new Map(rows.map((row) => [row.n, row.key]));
    for (const { n, reason } of few) {
      const name = encodedKeyText(mapping, keys.get(n) ?? []);
      refused.push({ table: mapping.table.name, key: name, column: null, reason });
    }
  }
  return refused;
}
