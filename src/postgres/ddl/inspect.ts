// Inspects a target before anything is created in it: the server, the role's rights, and the objects that already
// have the names of the tables, indexes and sequences. Returns findings, and a state per table; changes nothing.
// inspect-table.ts decides whether a table fits.
import type pg from "pg";
import type { Finding } from "../../findings.js";
import { only } from "../../present.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { sequenceFindings } from "../sequences.js";
import { rowSecurity } from "../trigger-check.js";
import { adopt, type Existing, type ExistingColumn, matches, type TableFinding } from "./inspect-table.js";
import type { TargetTable } from "./tables.js";

/** `absent`: to be created. `exists`: fits as it is. `blocked`: a finding of severity blocker says why. */
type TargetState = "absent" | "exists" | "blocked";

interface Inspection {
  readonly findings: readonly Finding[];
  /** By the SQLite table's name. */
  readonly tables: ReadonlyMap<string, TargetState>;
}

interface ServerRow {
  readonly version: number;
  readonly version_text: string;
  readonly encoding: string;
  readonly standby: boolean;
  readonly read_only: boolean;
  readonly role: string;
  readonly database: string;
  readonly may_create: boolean;
  readonly may_use_temporary: boolean;
}
interface SchemaRow {
  readonly name: string;
  readonly may_create: boolean;
  readonly may_use: boolean;
}
interface RelationRow {
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly row_security: boolean;
  readonly policies: readonly string[];
  readonly rules: readonly string[];
  readonly role: string;
  readonly owned: boolean;
  readonly of_table: string | null;
}
interface ColumnRow extends ExistingColumn {
  readonly schema: string;
  readonly table: string;
}
interface ForeignKeyRow {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly parent_schema: string;
  readonly parent: string;
}
interface TriggerRow {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
}

const VERSION_MIN = 140_000;
const CONTROL_SCHEMA = "switchback";

/**
 * Checks whether the tables can be created in the target (`create`), or already exist there (`adopt`). Meant for a
 * target without a copy: with one, its tables are no longer empty. `source` names the findings' source. Errors of the
 * connection are passed on.
 */
export async function inspectTarget(
  client: pg.ClientBase,
  tables: readonly TargetTable[],
  target: "create" | "adopt",
  source: string,
  /** Names that are about to be free, in the form of `placeOf`. */
  leaving: ReadonlySet<string> = new Set(),
): Promise<Inspection> {
  const schemas = [...new Set(tables.map((table) => table.mapping.schema))];
  const findings = (await inspectServer(client, schemas, target)).map((answer) => ({ ...answer, source }));
  const existing = await readExisting(client, tables, schemas);
  const states = new Map<string, TargetState>();
  for (const table of tables) {
    const { mapping } = table;
    const found = existing.get(placeOf(mapping.schema, mapping.target));
    const answers = found ? judge(table, found, target) : target === "adopt" ? [missing(table)] : [];
    if (found && answers.every((answer) => answer.severity !== "blocker")) {
      answers.push(...(await emptiness(client, table)));
    }
    const blocked = answers.some((answer) => answer.severity === "blocker");
    states.set(mapping.table.name, blocked ? "blocked" : found ? "exists" : "absent");
    findings.push(...answers.map((answer) => ({ ...answer, table: mapping.table.name, source })));
  }
  const standing = tables.filter((table) =>
    existing.has(placeOf(table.mapping.schema, table.mapping.target)),
  );
  const numbering = await sequenceFindings(
    client,
    standing.map(({ mapping }) => mapping),
  );
  findings.push(...numbering.map((finding) => ({ ...finding, source })));
  if (target === "create")
    findings.push(...(await nameClashes(client, tables, schemas, leaving)).map((a) => ({ ...a, source })));
  return { findings, tables: states };
}

function judge(table: TargetTable, existing: Existing, target: "create" | "adopt"): TableFinding[] {
  return target === "create" ? matches(table, existing) : adopt(table, existing);
}

async function inspectServer(
  client: pg.ClientBase,
  schemas: readonly string[],
  target: string,
): Promise<TableFinding[]> {
  const server = only((await client.query<ServerRow>(sql("postgres/schema/server"))).rows, "answer");
  const present = (
    await client.query<SchemaRow>(sql("postgres/schema/schemas"), [[...schemas, CONTROL_SCHEMA]])
  ).rows;
  const answers: TableFinding[] = [];
  const block = (code: string, message: string, remedy: string): void => {
    answers.push({ severity: "blocker", code, message, remedy });
  };
  if (server.version < VERSION_MIN) {
    block(
      "postgres-version",
      `the server is PostgreSQL ${server.version_text}`,
      "Use PostgreSQL 14 or later.",
    );
  }
  if (server.encoding !== "UTF8") {
    block(
      "postgres-encoding",
      `the database is encoded in ${server.encoding}`,
      "Use a database created with ENCODING 'UTF8'.",
    );
  }
  if (server.standby) block("postgres-standby", "the server is a standby", "Connect to the primary.");
  else if (server.read_only) {
    block(
      "postgres-read-only",
      "transactions are read-only by default",
      "Set default_transaction_read_only to off for this role.",
    );
  }
  for (const name of [CONTROL_SCHEMA, ...schemas]) {
    const schema = present.find((row) => row.name === name);
    if (!schema && !server.may_create) {
      block(
        "postgres-rights",
        `the schema ${name} does not exist, and the role ${server.role} may not create schemas`,
        `GRANT CREATE ON DATABASE ${quote(server.database)} TO ${quote(server.role)};`,
      );
    }
    const needsCreate = name === CONTROL_SCHEMA || target === "create";
    if (schema && !(schema.may_use && (schema.may_create || !needsCreate))) {
      block(
        "postgres-rights",
        `the role ${server.role} may not create tables in the schema ${name}`,
        `GRANT USAGE, CREATE ON SCHEMA ${quote(name)} TO ${quote(server.role)};`,
      );
    }
  }
  if (!server.may_use_temporary) {
    block(
      "postgres-rights",
      `the role ${server.role} may not create temporary tables`,
      `GRANT TEMPORARY ON DATABASE ${quote(server.database)} TO ${quote(server.role)};`,
    );
  }
  return answers;
}

async function readExisting(
  client: pg.ClientBase,
  tables: readonly TargetTable[],
  schemas: readonly string[],
): Promise<Map<string, Existing>> {
  const parameters = [schemas, tables.map((table) => table.mapping.target)];
  // One connection, so one query after the other: pg queues them anyway.
  const relations = (await client.query<RelationRow>(sql("postgres/schema/tables"), parameters)).rows;
  const columns = (await client.query<ColumnRow>(sql("postgres/schema/columns"), parameters)).rows;
  const foreignKeys = (await client.query<ForeignKeyRow>(sql("postgres/schema/foreign-keys"), parameters))
    .rows;
  const triggers = (await client.query<TriggerRow>(sql("postgres/schema/triggers"), parameters)).rows;
  const existing = new Map<string, Existing>();
  for (const relation of relations) {
    const here = (row: { schema: string; table: string }): boolean =>
      row.schema === relation.schema && row.table === relation.name;
    const pointsHere = (row: ForeignKeyRow): boolean =>
      row.parent_schema === relation.schema && row.parent === relation.name;
    existing.set(placeOf(relation.schema, relation.name), {
      kind: relation.kind,
      owned: relation.owned,
      rowSecurity: relation.row_security
        ? rowSecurity(placeName(relation), relation.role, relation.policies)
        : null,
      rules: relation.rules,
      columns: columns.filter(here),
      triggers: triggers.filter(here).map((row) => row.name),
      foreignKeys: foreignKeys
        .filter((row) => here(row) || pointsHere(row))
        .map((row) => `${row.table}.${row.name}`),
    });
  }
  return existing;
}

function missing({ mapping }: TargetTable): TableFinding {
  return {
    severity: "blocker",
    code: "target-missing",
    message: `the table ${mapping.schema}.${mapping.target} does not exist`,
    remedy: "Run the application's migrations on PostgreSQL first, or use `target: create`.",
  };
}

/** An existing table that fits may be used, as long as nothing in it can be overwritten. */
async function emptiness(client: pg.ClientBase, { mapping }: TargetTable): Promise<TableFinding[]> {
  const relation = `${quote(mapping.schema)}.${quote(mapping.target)}`;
  const some = await client.query(`SELECT 1 FROM ${relation} LIMIT 1`);
  if (some.rows.length === 0) return [];
  const { rows } = await client.query<{ count: string }>(`SELECT count(*) AS count FROM ${relation}`);
  return [
    {
      severity: "blocker",
      code: "target-not-empty",
      message: `${mapping.schema}.${mapping.target} holds ${rows[0]?.count ?? "some"} rows that were not copied from SQLite`,
      remedy: "Empty the table, or choose another target schema.",
    },
  ];
}

/** Another object already has a name that one of our indexes needs. */
async function nameClashes(
  client: pg.ClientBase,
  tables: readonly TargetTable[],
  schemas: readonly string[],
  leaving: ReadonlySet<string>,
): Promise<(TableFinding & Pick<Finding, "table">)[]> {
  const wanted = new Map<string, { readonly target: string; readonly table: string }>();
  for (const { mapping, primaryKey, indexes } of tables) {
    for (const { name } of [primaryKey, ...indexes])
      wanted.set(placeOf(mapping.schema, name), { target: mapping.target, table: mapping.table.name });
  }
  const names = tables.flatMap((table) =>
    [table.primaryKey, ...table.indexes].map((statement) => statement.name),
  );
  const { rows } = await client.query<RelationRow>(sql("postgres/schema/tables"), [schemas, names]);
  return rows.flatMap((row) => {
    const place = placeOf(row.schema, row.name);
    const owner = wanted.get(place);
    if (owner === undefined || row.of_table === owner.target || leaving.has(place)) return [];
    return {
      table: owner.table,
      severity: "blocker" as const,
      code: "target-name-taken",
      message: `the name ${row.schema}.${row.name}, which an index of ${owner.target} needs, belongs to something else`,
      remedy: "Rename or drop that object, or choose another target schema.",
    };
  });
}

function placeName({ schema, name }: RelationRow): string {
  return `${quote(schema)}.${quote(name)}`;
}

function placeOf(schema: string, name: string): string {
  return `${schema}\0${name}`;
}
