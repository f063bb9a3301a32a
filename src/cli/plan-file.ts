// The configuration file of `plan --write`: every column's mapping spelled out, ready to be edited and read again. An
// existing configuration keeps everything else, including comments. No secret is ever resolved into it: PostgreSQL's
// address stays in the environment, or in the file as it was written there.
import { readFileSync } from "node:fs";
import { dirname, relative, sep } from "node:path";
import { Document, parseDocument } from "yaml";
import type { Config, SourceConfig } from "../config/config.js";
import type { TableDecision } from "../mapping/decide.js";

interface Planned {
  readonly source: SourceConfig;
  readonly decisions: readonly TableDecision[];
}

const LINE_WIDTH = 120;

/** YAML for the plans, with paths relative to the folder of `file` where they lie below it. */
export function configurationText(config: Config, plans: readonly Planned[], file: string): string {
  const sources = plans.map(({ source, decisions }) => ({
    name: source.name,
    sqlite: shortPath(source.sqlite, file),
    schema: source.schema,
    target: source.target,
    lengths: source.lengths,
    include: source.include,
    ...(source.exclude.length === 0 ? {} : { exclude: source.exclude }),
    tables: Object.fromEntries(decisions.map((decision) => [decision.mapping.table.name, tableOf(decision)])),
  }));
  // In another folder the file's relative paths would point to other files.
  const keeps = config.file !== null && dirname(config.file) === dirname(file);
  const document =
    keeps && config.file !== null ? parseDocument(readFileSync(config.file, "utf8")) : new Document({});
  document.set("sources", document.createNode(sources));
  document.commentBefore ??=
    " Written by switchback plan. It has every column's type in PostgreSQL; edit it as needed.";
  return document.toString({ lineWidth: LINE_WIDTH });
}

function tableOf({ mapping, columns }: TableDecision) {
  const written = columns.filter((column) => column.generatedAs === null);
  return {
    name: mapping.target,
    columns: Object.fromEntries(
      written.map(({ column, target, spec }) => [
        column,
        {
          // The name of the database's own type is not the configuration's to give: adopting finds it there.
          ...(spec.like === undefined ? { type: spec.type } : {}),
          ...(/^timestamp/.test(spec.type) || spec.from !== undefined ? { from: spec.from ?? "text" } : {}),
          ...(target === column ? {} : { name: target }),
        },
      ]),
    ),
  };
}

/** A path that still means the same when the folder is moved as a whole. */
function shortPath(path: string, file: string): string {
  const short = relative(dirname(file), path);
  return short.startsWith("..") ? path : `.${sep}${short}`;
}
