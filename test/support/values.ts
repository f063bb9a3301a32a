// Random SQLite values of every storage class, leaning towards the edges. They are the limits of integers and
// doubles, texts that look like something else, moments in every spelling, JSON that is nearly JSON.
import { InvalidText, type SqliteValue } from "#switchback/codec/codec.js";
import type { Affinity } from "#switchback/schema/model.js";

/** A declared type for each affinity. */
export const DECLARED: Readonly<Record<Affinity, string>> = {
  INTEGER: "INTEGER",
  NUMERIC: "NUMERIC",
  REAL: "REAL",
  TEXT: "TEXT",
  BLOB: "",
};
export const AFFINITIES = Object.keys(DECLARED) as Affinity[];

/** A small deterministic generator (mulberry32): the same seed gives the same numbers everywhere. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const EDGES: readonly SqliteValue[] = [
  null,
  0n,
  1n,
  2n,
  -1n,
  32767n,
  32768n,
  -32768n,
  2147483647n,
  2147483648n,
  9007199254740993n,
  1152921504606846976n,
  9223372036854775807n,
  -9223372036854775808n,
  1700000000n,
  1700000000123n,
  1738281600n,
  1738281600123456n,
  1738281600123456789n,
  1738281600123456000n,
  1738281600000000n,
  1738281600000000000n,
  20250131101112n,
  20250131000000n,
  20250231000000n,
  9990131101112n,
  1738281600000n,
  -86400n,
  -86400000n,
  1738281600.5,
  -62135596801n,
  253402300800n,
  0,
  -0,
  1,
  1.5,
  0.1,
  0.1 + 0.2,
  1e15,
  1e17,
  1e21,
  1e25,
  -1e300,
  5e-324,
  1.7976931348623157e308,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  16777217,
  3.4028234663852886e38,
  2460000.5,
  2460000.123456,
  1700000000.25,
  1700000000.1234567,
  12345678.99,
  99999999.99,
  100000000.5,
  0.00005,
  0.5,
  "",
  " ",
  "a",
  "abc",
  "ab ",
  "abcde",
  "abcdef",
  "äöüßé",
  "😀😀😀",
  'quote " comma , newline \n return \r\n tab \t back \\ slash',
  "\\.",
  "\\N",
  "NULL",
  "nul\0inside",
  "\0",
  "12",
  " 12 ",
  "1.50",
  "1e3",
  "0x10",
  "1e400",
  "-0",
  "Inf",
  "NaN",
  "0",
  "1",
  "true",
  "false",
  "True",
  "TRUE",
  "t",
  "yes",
  "now",
  "today",
  "epoch",
  "infinity",
  "-infinity",
  "yesterday",
  "allballs",
  "2025-01-31",
  "2025-02-29",
  "2024-02-29",
  "0000-01-01",
  "0001-01-01",
  "9999-12-31",
  "10000-01-01",
  "25-01-31",
  "2025-1-31",
  "20250131",
  "2025-01-31 24:00:00",
  "2025-01-31 00:00:00",
  "20250131101112",
  "20250131000000",
  "09990131101112",
  "00000131101112",
  "20250230101112",
  "20250131241112",
  "20250131101160",
  "2025-01-31T10:00:00.120000+00:00",
  "2025-01-31T10:00:00.123456+00:00",
  "2025-01-31T00:00:00.000Z",
  "2025-01-31T00:00:00+00:00",
  "0001-01-01 00:00:00",
  "9999-12-31T00:00:00.000Z",
  "2025-01-31 10:00:00.120",
  "2025-01-31 23:59:60",
  "2025-01-31 23:59:59.999999",
  "2025-01-31 23:59:59.9999999",
  "2025-01-31 23:59:59.9999990",
  "2025-01-31 10:00:00+15:59",
  "2025-01-31 10:00:00+16:00",
  "2025-01-31 10:00:00 BC",
  "0001-01-01 00:00:00+02:00",
  "9999-12-31 23:59:59-02:00",
  "2025-01-31 10:00:00,5",
  "12:34",
  "12:34:56",
  "12:34:56.789",
  "24:00:00",
  "123e4567-e89b-12d3-a456-426614174000",
  "123E4567-E89B-12D3-A456-426614174000",
  "123E4567-e89b-12d3-a456-426614174000",
  "{123e4567-e89b-12d3-a456-426614174000}",
  "123e4567e89b12d3a456426614174000",
  "123e4567-e89b-12d3-a456-42661417400g",
  "123e4567-e89b-12d3-a4-56426614174000",
  "{}",
  "[]",
  '{"a":1}',
  '{"bb": 1, "a": [1, 2.50, -0, 1e2, 1E-2], "a": "last"}',
  '{"e": "\\u00e9\\ud83d\\ude00\\n\\/"}',
  '"\\u0000"',
  '"\\ud800"',
  '"\\udc00x"',
  '"raw \t tab"',
  "{a:1}",
  "[1,]",
  "[01]",
  "[1.]",
  "[.5]",
  "[+1]",
  "[1e400]",
  "[1e131071]",
  "[1e200000]",
  "[1e-16383]",
  "[1e-20000]",
  "[0e-5, 0.00, -0.0]",
  "null",
  '"text"',
  " [1 , 2]\n",
  "[NaN]",
  "[Infinity]",
  '{"":""}',
  '["\u007f\u2028"]',
  `[${"1".repeat(50)}]`,
  `${"[".repeat(500)}${"]".repeat(500)}`,
  `${"[".repeat(2000)}${"]".repeat(2000)}`,
  new Uint8Array(0),
  new Uint8Array([0]),
  new Uint8Array([0x31]),
  new Uint8Array(16).fill(0xab),
  new Uint8Array(16),
  new Uint8Array(17),
  "123E4567E89B12D3A456426614174000",
  "12345678901234567890123456789012",
  new Uint8Array([0xff, 0x00, 0x41]),
  new InvalidText(new Uint8Array([0x61, 0xff])),
  new InvalidText(new Uint8Array([0xed, 0xa0, 0x80])),
];

/** All the edges, then random values up to `count`. */
export function randomValues(seed: number, count: number): SqliteValue[] {
  const random = generator(seed);
  const values = [...EDGES];
  while (values.length < count) values.push(randomValue(random));
  return values;
}

function randomValue(random: () => number): SqliteValue {
  const makers = [
    randomInteger,
    randomReal,
    randomText,
    randomMoment,
    randomJson,
    randomBlob,
    randomNumberText,
  ];
  return (makers[Math.floor(random() * makers.length)] ?? randomInteger)(random);
}

function randomInteger(random: () => number): bigint {
  const bits = 1 + Math.floor(random() * 63);
  const value = BigInt(Math.floor(random() * 2 ** 32)) * 2n ** 32n + BigInt(Math.floor(random() * 2 ** 32));
  return BigInt.asIntN(64, (random() < 0.5 ? 1n : -1n) * BigInt.asUintN(bits, value));
}

function randomReal(random: () => number): number {
  const choice = random();
  if (choice < 0.3) return Math.round((random() - 0.5) * 1e7) / 100;
  if (choice < 0.5) return (random() - 0.5) * 10 ** Math.floor(random() * 40 - 20);
  if (choice < 0.6) return Math.fround(random() * 1000);
  if (choice < 0.8) return 1.7e9 + Math.round(random() * 1e12) / 1e6;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setUint32(0, random() * 2 ** 32);
  bits.setUint32(4, random() * 2 ** 32);
  const real = bits.getFloat64(0);
  return Number.isNaN(real) ? 0.25 : real;
}

const ALPHABET = [..."abc 019-:.T\"',;\\\n\t\r{}[]éß€😀", "\u0001", "\u007f", "\ufeff"];

function randomText(random: () => number): string {
  const length = Math.floor(random() * 12);
  return Array.from({ length }, () => ALPHABET[Math.floor(random() * ALPHABET.length)]).join("");
}

function randomNumberText(random: () => number): string {
  return `${random() < 0.2 ? " " : ""}${String(randomReal(random))}${random() < 0.3 ? "0" : ""}`;
}

function randomMoment(random: () => number): string {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const two = (max: number) => String(Math.floor(random() * (max + 1))).padStart(2, "0");
  const date = `${pick(["2025", "1969", "0004", "2100"])}-${two(13)}-${two(31)}`;
  const fraction = pick(["", "", ".5", ".123", ".000", ".123456", ".120000", ".1234567"]);
  const seconds = random() < 0.1 ? "" : `:${two(60)}${fraction}`;
  const zone = pick(["", "", "", "Z", "+00:00", "+02:00", "-0330", "+00", "z", " UTC"]);
  return `${date}${pick([" ", "T", " ", "t"])}${two(24)}:${two(60)}${seconds}${zone}`;
}

function randomJson(random: () => number): string {
  const spaced = random() < 0.5;
  return JSON.stringify(jsonValue(random, 3), null, spaced ? 1 : undefined);
}

function jsonValue(random: () => number, depth: number): unknown {
  const choice = random();
  if (depth > 0 && choice < 0.3)
    return Array.from({ length: Math.floor(random() * 4) }, () => jsonValue(random, depth - 1));
  if (depth > 0 && choice < 0.6) {
    const names = Array.from({ length: Math.floor(random() * 4) }, () => randomText(random));
    return Object.fromEntries(names.map((name) => [name, jsonValue(random, depth - 1)]));
  }
  if (choice < 0.75) return randomReal(random);
  return choice < 0.9 ? randomText(random) : [true, false, null][Math.floor(random() * 3)];
}

function randomBlob(random: () => number): Uint8Array {
  return Uint8Array.from({ length: Math.floor(random() * 20) }, () => Math.floor(random() * 256));
}
