// Objects that other programs make on the copy in PostgreSQL, and rows that they change there.
import type { Kind, Planned } from "./kind.js";
import { quiet, Wrong } from "./settle.js";
import type { World } from "./world.js";

interface Made {
  readonly create: string;
  readonly drop: string;
  readonly codes: readonly string[];
  readonly blocks?: boolean;
  readonly refuses?: boolean;
  readonly stallsReplication?: boolean;
  /** Only where the sidecar's role is not a superuser. */
  readonly owner?: boolean;
}

const DISTURBED = ["TARGET_DISTURBED", "SHAPE_DIFFERS"];

/** NAME is a name that nothing else has. */
const OBJECTS: readonly Made[] = [
  {
    create: `CREATE FUNCTION NAME() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
      CREATE TRIGGER NAME BEFORE INSERT OR UPDATE ON latest FOR EACH ROW EXECUTE FUNCTION NAME()`,
    drop: "DROP FUNCTION NAME() CASCADE",
    codes: DISTURBED,
  },
  {
    create: `CREATE FUNCTION NAME() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
      CREATE TRIGGER NAME BEFORE INSERT ON one FOR EACH ROW EXECUTE FUNCTION NAME();
      ALTER TABLE one ENABLE ALWAYS TRIGGER NAME`,
    drop: "DROP FUNCTION NAME() CASCADE",
    codes: DISTURBED,
  },
  {
    create: "CREATE RULE NAME AS ON INSERT TO latest DO INSTEAD NOTHING",
    drop: "DROP RULE NAME ON latest",
    codes: ["TARGET_DISTURBED", "COUNT_MISMATCH"],
    blocks: true,
    stallsReplication: true,
  },
  {
    create: "CREATE RULE NAME AS ON DELETE TO latest DO ALSO SELECT 1",
    drop: "DROP RULE NAME ON latest",
    codes: ["TARGET_DISTURBED", "COUNT_MISMATCH"],
    blocks: true,
    stallsReplication: true,
  },
  { create: "CREATE INDEX NAME ON latest (name)", drop: "DROP INDEX NAME", codes: [] },
  {
    create: "CREATE INDEX NAME ON one (lower(v)) WHERE n IS NOT NULL",
    drop: "DROP INDEX IF EXISTS NAME",
    codes: [],
  },
  {
    create: "CREATE UNIQUE INDEX NAME ON latest ((place % 50), (place / 100))",
    drop: "DROP INDEX NAME",
    codes: ["SHAPE_DIFFERS", "QUARANTINED", "NOT_EQUAL", "ROWS_DIFFER"],
    blocks: true,
    refuses: true,
  },
  {
    create: "ALTER TABLE latest ADD CONSTRAINT NAME CHECK (length(name) % 2 = 0) NOT VALID",
    drop: "ALTER TABLE latest DROP CONSTRAINT NAME",
    codes: ["SHAPE_DIFFERS", "QUARANTINED", "NOT_EQUAL", "ROWS_DIFFER"],
    blocks: true,
    refuses: true,
  },
  {
    create: "CREATE TABLE NAME (kind bigint REFERENCES kind (id)); INSERT INTO NAME SELECT min(id) FROM kind",
    drop: "DROP TABLE NAME",
    codes: DISTURBED,
  },
  { create: "CREATE VIEW NAME AS SELECT * FROM op", drop: "DROP VIEW NAME", codes: [] },
  { create: "CREATE VIEW NAME AS SELECT * FROM one", drop: "DROP VIEW NAME", codes: ["TARGET_MISMATCH"] },
  {
    create: `ALTER TABLE latest ENABLE ROW LEVEL SECURITY; ALTER TABLE latest FORCE ROW LEVEL SECURITY;
      CREATE POLICY NAME ON latest USING (place < 50)`,
    drop: "ALTER TABLE latest NO FORCE ROW LEVEL SECURITY; ALTER TABLE latest DISABLE ROW LEVEL SECURITY; DROP POLICY NAME ON latest",
    codes: ["POSTGRES_ROW_SECURITY"],
    owner: true,
    blocks: true,
    stallsReplication: true,
  },
  { create: "GRANT SELECT ON latest TO PUBLIC", drop: "REVOKE SELECT ON latest FROM PUBLIC", codes: [] },
];

let names = 0;

const objectKind: Kind = {
  name: "object",
  weight: 5,
  plan(world, pick) {
    if (world.writes !== "sqlite" || world.standing.length >= 2) return null;
    const index = pick(OBJECTS.length);
    const made = OBJECTS[index];
    if (!made || (made.owner && world.setting.role !== "owner")) return null;
    return planned(made, `hostile_${names++}`);
  },
  async perform(world, operation) {
    if (world.writes !== "sqlite") return false;
    const { name, create, drop, ...rest } = operation as unknown as Made & { name: string };
    const error = await world.postgres(create);
    // The table may not be there, or hold rows that do not allow it.
    if (error) return false;
    for (const code of rest.codes) world.suspects.add(code);
    await own(world, name);
    world.standing.push({ ...rest, name, drop });
    return true;
  },
};

function planned(made: Made, name: string): Planned {
  const text = JSON.stringify(made).replaceAll("NAME", name);
  return { operation: { op: "object", name, ...(JSON.parse(text) as Made) } };
}

/** What the administrator made belongs to the application's role, as if its migration had made it. */
async function own(world: World, name: string): Promise<void> {
  for (const what of ["TABLE", "VIEW"]) {
    const kind = what === "TABLE" ? "r" : "v";
    const [found] = await world.ask(`SELECT FROM pg_class WHERE relname = '${name}' AND relkind = '${kind}'`);
    if (found) await world.postgres(`ALTER ${what} ${name} OWNER TO ${world.roleName}`);
  }
}

const dropObjectKind: Kind = {
  name: "drop-object",
  weight: 4,
  plan(world, pick) {
    const standing = world.standing[pick(Math.max(1, world.standing.length))];
    return standing ? { operation: { op: "drop-object", name: standing.name } } : null;
  },
  async perform(world, { name }, note) {
    const standing = world.standing.find((other) => other.name === name);
    if (!standing) return false;
    const error = await world.postgres(standing.drop);
    if (error) throw new Wrong(`${standing.drop}: ${error}`);
    world.standing = world.standing.filter((other) => other !== standing);
    for (const code of standing.codes) world.suspects.add(code);
    if (standing.refuses) await verifiedTwice(world);
    note({ dropped: name });
    return true;
  },
};

/** As the page on quarantine says after a cause was removed. */
async function verifiedTwice(world: World): Promise<void> {
  await world.command(["verify"]);
  await world.command(["verify"]);
}

/** Rows of the copy that are changed past the fence: only a comparison finds them, and `--repair` corrects them. */
const strayKind: Kind = {
  name: "stray-rows",
  weight: 2,
  alone: true,
  plan: (world, pick) =>
    world.writes === "sqlite" && world.standing.length === 0 && world.refused.size === 0
      ? {
          operation: {
            op: "stray-rows",
            statement: [
              "UPDATE kind SET t = 'stray' WHERE id % 100 = 7",
              "DELETE FROM kind WHERE id % 100 = 8",
              "INSERT INTO kind (id, i) VALUES (-5, 5)",
              "DELETE FROM parent",
              "UPDATE parent SET id = id + 10",
            ][pick(5)],
          },
        }
      : null,
  async perform(world, { statement }, note) {
    if (world.writes !== "sqlite") return false;
    await quiet(world, note);
    for (const code of ["ROWS_DIFFER", "NOT_EQUAL", "COUNT_MISMATCH"]) world.suspects.add(code);
    const error = await world.postgres(
      `BEGIN; SET LOCAL session_replication_role = replica; ${statement}; COMMIT`,
    );
    if (error) throw new Wrong(`${statement}: ${error}`);
    const found = await world.command(["verify"]);
    if (found.code !== 1) throw new Wrong(`verify after ${statement} ended with ${found.code}`);
    const repaired = await world.command(["verify", "--repair"]);
    if (repaired.code !== 0)
      throw new Wrong(
        `the repair after ${statement} ended with ${repaired.code}: ${repaired.stdout}${repaired.stderr}`,
      );
    return true;
  },
};

export const objectKinds: readonly Kind[] = [objectKind, dropObjectKind, strayKind];
