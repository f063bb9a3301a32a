// The default type of one column: SQLite's affinity rules first, then the data, by the table in
// docs/types.md. A definite declaration (INT, CHAR, REAL, BLOB …) decides without reading a row. It owns the
// reasons that `plan` shows. It knows no keys, no names and no overrides of the configuration.

import { codecFor } from "../codec/registry.js";
import type { Column } from "../schema/model.js";
import type { MomentSource } from "../schema/moment-source.js";
import type { Evidence } from "./evidence.js";
import { isMoment } from "./siblings.js";
import { booleanPair, epochOf, spellingFor } from "./spelling.js";

export interface Choice {
  readonly type: string;
  readonly from?: MomentSource;
  /** For a type of the database's own: the built-in one by whose codec its values are read and written. */
  readonly like?: string;
  readonly spelling?: string | undefined;
  /** The reason for the type, in words that follow the type: "declared INTEGER". */
  readonly why: string;
  /** Set when the data contradicts the declaration. */
  readonly doubt?: string;
}

interface ChoiceOptions {
  /** VARCHAR(n) becomes varchar(n). */
  readonly keepLengths: boolean;
  /** The column identifies rows: its values must come back in one spelling. */
  readonly strict: boolean;
  /** How the other moments of the file are spelled; null where there are none. */
  readonly usual: () => MomentSource | null;
}

export function chooseType(column: Column, evidence: Evidence, options: ChoiceOptions): Choice {
  const declared = column.declaredType;
  const why = declared === "" ? "declared without a type" : `declared ${declared}`;
  switch (column.affinity) {
    case "INTEGER":
      return { type: "bigint", why };
    case "REAL":
      return { type: "double precision", why };
    case "TEXT":
      return { type: (options.keepLengths && lengthOf(declared)) || "text", why };
    case "BLOB":
      return { type: /BLOB/i.test(declared) ? "bytea" : "any", why };
    case "NUMERIC":
      return byName(column, evidence, options, why);
  }
}

/** varchar(n) for VARCHAR(n), NCHAR(n), CHARACTER VARYING(n) …; SQLite pads none of them. */
function lengthOf(declared: string): string | null {
  const length = /CHAR[^(]*\(\s*(\d{1,8})\s*\)/i.exec(declared)?.[1];
  return length === undefined || Number(length) < 1 || Number(length) > 10_485_760
    ? null
    : `varchar(${Number(length)})`;
}

function byName(column: Column, evidence: Evidence, options: ChoiceOptions, why: string): Choice {
  const declared = column.declaredType;
  if (/^BOOL/i.test(declared)) return booleanChoice(column, evidence, options, why);
  if (isMoment(declared)) return momentChoice(column, evidence, options, why);
  if (/^JSON/i.test(declared)) return jsonChoice(column, evidence, options, why);
  if (/DEC|NUM|MONEY|CURR|FIXED/i.test(declared)) return { type: "numeric", why };
  return byData(column, evidence, why);
}

function booleanChoice(column: Column, evidence: Evidence, { strict }: ChoiceOptions, why: string): Choice {
  const texts = evidence.sample(column.name).filter((value) => typeof value === "string");
  const spelling = booleanPair(texts);
  const doubt = refuted(column, evidence, { type: "boolean", spelling }, strict);
  if (doubt === null) {
    const values = spelling === undefined ? "0, 1 or NULL" : `one of ${spelling}, or NULL`;
    return { type: "boolean", spelling, why: `${why}, and every value is ${values}` };
  }
  return { type: "bigint", why: `${why}, but ${doubt}`, doubt };
}

function momentChoice(column: Column, evidence: Evidence, options: ChoiceOptions, why: string): Choice {
  const { strict } = options;
  const sample = evidence.sample(column.name);
  if (sample.length === 0) return emptyMoment(column, options, `${why}, and there is no value yet`);
  const proposal = proposedMoment(column, evidence);
  const doubt = proposal
    ? refuted(column, evidence, proposal, strict)
    : "its values are not one kind of moment";
  if (proposal && doubt === null) return { ...proposal, why: `${why}, and every value is ${proposal.kind}` };
  return fallback(column, evidence, why, doubt ?? "");
}

/** Without values, the default shows how the application will spell them, else the other moments do. */
function emptyMoment(column: Column, { usual }: ChoiceOptions, why: string): Choice {
  const type = /^DATE$/i.test(column.declaredType) ? "date" : "timestamptz";
  if (/strftime\s*\(\s*'%s'|unixepoch/i.test(column.default ?? ""))
    return { type: "timestamptz", from: "unix", why };
  const from = column.default === null ? usual() : null;
  if (from === null || from === "text") return { type, why };
  return { type: "timestamptz", from, why: `${why}: as the file's other moments` };
}

interface Proposal {
  readonly type: string;
  readonly from?: MomentSource;
  readonly spelling?: string | undefined;
  readonly kind: string;
}

function proposedMoment(column: Column, evidence: Evidence): Proposal | null {
  const sample = evidence.sample(column.name);
  if (sample.every((value) => typeof value === "string")) {
    const spelling = spellingFor("timestamptz", sample);
    if (spelling === undefined) return null;
    const dates = sample.filter((value) => typeof value === "string" && value.length === 10).length;
    // Dates in one row and moments in another are two kinds, though both could be read as moments.
    if (dates === sample.length) return { type: "date", kind: "a date" };
    return dates > 0 ? null : { type: "timestamptz", spelling, kind: `text like ${spelling}` };
  }
  if (!sample.every((value) => typeof value === "bigint" || typeof value === "number")) return null;
  const bounds = evidence.numbers(column.name);
  const from = bounds && epochOf(bounds);
  if (!from) return null;
  const unit = from === "unix" ? "seconds" : "milliseconds";
  return {
    type: "timestamptz",
    from,
    spelling: spellingFor("timestamptz", sample, from),
    kind: `a Unix time in ${unit}`,
  };
}

function jsonChoice(column: Column, evidence: Evidence, { strict }: ChoiceOptions, why: string): Choice {
  const sample = evidence.sample(column.name);
  const proposal = { type: "jsonb", spelling: spellingFor("jsonb", sample) };
  const doubt = refuted(column, evidence, proposal, strict);
  if (doubt === null) return { ...proposal, why: `${why}, and every value is JSON` };
  return fallback(column, evidence, why, doubt);
}

/** A type name that SQLite does not know and treats as NUMERIC: STRING, UUID, ANY … */
function byData(column: Column, evidence: Evidence, why: string): Choice {
  const { integer, real, text, blob } = evidence.classes(column.name);
  const numbers = integer + real;
  const kinds = [numbers, text, blob].filter((count) => count > 0).length;
  if (kinds === 0)
    return { type: "text", why: `${why}, which SQLite does not know, and there is no value yet` };
  if (kinds > 1)
    return { type: "any", why: `${why}, which SQLite does not know, and it holds several storage classes` };
  if (numbers > 0) return { type: "numeric", why: `${why}, and every value is a number` };
  return text > 0
    ? { type: "text", why: `${why}, and every value is text` }
    : { type: "bytea", why: `${why}, and every value is a blob` };
}

/** The type that holds every value when the declared one does not: text, unless there are blobs. */
function fallback(column: Column, evidence: Evidence, why: string, doubt: string): Choice {
  const { integer, real, text, blob } = evidence.classes(column.name);
  const type = blob === 0 ? "text" : integer + real + text === 0 ? "bytea" : "any";
  return { type, why: `${why}, but ${doubt}`, doubt };
}

function refuted(
  column: Column,
  evidence: Evidence,
  proposal: { type: string; from?: MomentSource; spelling?: string | undefined },
  strict: boolean,
): string | null {
  const { type, from, spelling } = proposal;
  const codec = codecFor({
    type,
    affinity: column.affinity,
    ...(from === undefined ? {} : { from }),
    ...(spelling === undefined ? {} : { spelling }),
    strict,
  });
  const reason = evidence.refutation(column.name, codec);
  if (reason !== null) return reason;
  // To the codec a date among moments is a midnight; the application may mean something else.
  const moments = type === "timestamptz" && from === undefined;
  return moments && evidence.anyOfLength(column.name, 10) ? "some values are dates and others moments" : null;
}
