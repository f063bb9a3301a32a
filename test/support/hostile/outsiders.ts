// Others that want the same stores while a sidecar runs: second sidecars, wrong configurations, commands beside it.
// Each is refused with its name, and the sidecar that runs is not disturbed.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, Sidecar } from "../cli.js";
import { flagOf } from "../flips.js";
import { testFile } from "../sqlite.js";
import { type Kind, of } from "./kind.js";
import { Wrong } from "./settle.js";
import type { World } from "./world.js";

const secondKind: Kind = {
  name: "second-sidecar",
  weight: 3,
  alone: true,
  plan: (_, pick) => ({
    operation: {
      op: "second-sidecar",
      which: of(pick, ["same-stores", "same-configuration", "other-database", "other-schema", "same-route"]),
    },
  }),
  async perform(world, { which }) {
    const codes = await secondSidecar(world, which as string);
    if (codes) throw new Wrong(codes);
    return true;
  },
};

/** What is wrong with the answer, or null. */
async function secondSidecar(world: World, which: string): Promise<string | null> {
  const elsewhere =
    which === "other-database" || which === "same-route" ? await world.server.database() : null;
  const file = which === "same-route" ? testFile("CREATE TABLE u (id INTEGER PRIMARY KEY)") : null;
  const second = await Sidecar.prepare({
    sqlite: file?.path ?? world.file.path,
    url: elsewhere?.url ?? world.url,
    source: which === "other-schema" ? { schema: "other" } : {},
    top:
      which === "same-route"
        ? { flag: flagOf(world.sidecar), route: join(world.sidecar.folder, "route.json") }
        : {},
  });
  try {
    const config = which === "same-configuration" ? world.sidecar.config : second.config;
    const env = { SWITCHBACK_HTTP: "off" };
    const { code, stderr } = await command(["run", "--config", config], {
      env,
      cwd: second.folder,
      timeoutMs: 20_000,
    });
    world.said.push(stderr);
    const expected =
      which === "same-route" || which === "same-configuration"
        ? /ROUTE_TAKEN|SOURCE_TAKEN|TARGET_TAKEN/
        : /SOURCE_TAKEN|TARGET_TAKEN|SOURCE_FOREIGN/;
    return code === 4 && expected.test(stderr) ? null : `${which} ended with ${code}: ${stderr}`;
  } finally {
    await second.remove();
    await elsewhere?.drop();
    file?.remove();
  }
}

interface Wrongness {
  readonly name: string;
  readonly change: (configuration: Configuration, world: World, folder: string) => void;
  readonly exit: readonly number[];
  readonly codes: RegExp;
}

type Configuration = Record<string, unknown> & {
  sources: Record<string, unknown>[];
  postgres: { url: string };
};

const WRONG: readonly Wrongness[] = [
  {
    name: "unknown key",
    change: (c) => Object.assign(c, { postgress: { url: PASSWORD_URL } }),
    exit: [2],
    codes: /CONFIG_INVALID/,
  },
  {
    name: "wrong type",
    change: (c) => Object.assign(c, { backfill: "many" }),
    exit: [2],
    codes: /CONFIG_INVALID/,
  },
  {
    name: "wrong password",
    change: (c) => {
      c.postgres.url = c.postgres.url.replace(/:[^:@]+@/, ":hostile-Pa55word-wrong@");
    },
    exit: [3],
    codes: /POSTGRES_AUTHENTICATION/,
  },
  {
    name: "no such database",
    change: (c) => {
      c.postgres.url += "_none";
    },
    exit: [3, 4],
    codes: /POSTGRES_DATABASE_MISSING|SOURCE_TAKEN|ROUTE_TAKEN/,
  },
  {
    name: "no server",
    change: (c) => {
      c.postgres.url = c.postgres.url.replace(/:\d+\//, ":9/");
    },
    exit: [3, 4],
    codes: /POSTGRES_UNREACHABLE|SOURCE_TAKEN/,
  },
  {
    name: "no such file",
    change: (c) => Object.assign(c.sources[0] ?? {}, { sqlite: "/nowhere/app.db" }),
    exit: [2],
    codes: /SQLITE_MISSING/,
  },
  {
    name: "no database",
    change: (c, _, folder) => {
      writeFileSync(
        join(folder, "text.db"),
        "this is text, and more of it than a header is long ".repeat(40),
      );
      Object.assign(c.sources[0] ?? {}, { sqlite: join(folder, "text.db") });
    },
    exit: [2],
    codes: /SQLITE_NOT_A_DATABASE/,
  },
  {
    name: "a folder",
    change: (c, _, folder) => {
      mkdirSync(join(folder, "folder.db"));
      Object.assign(c.sources[0] ?? {}, { sqlite: join(folder, "folder.db") });
    },
    exit: [2, 3],
    codes: /SQLITE_/,
  },
  {
    name: "a copy of the file",
    change: (c, world, folder) => {
      copyFileSync(world.file.path, join(folder, "copy.db"));
      Object.assign(c.sources[0] ?? {}, { sqlite: join(folder, "copy.db") });
    },
    exit: [3, 4],
    codes: /SOURCE_|TARGET_|SQLITE_/,
  },
  {
    name: "no such table",
    change: (c) =>
      Object.assign(c.sources[0] ?? {}, { tables: { nothing: { columns: { id: { type: "text" } } } } }),
    exit: [2, 4],
    codes: /TABLE_UNKNOWN|CONFIG_INVALID|SOURCE_TAKEN|TARGET_TAKEN/,
  },
  {
    name: "no such type",
    change: (c) =>
      Object.assign(c.sources[0] ?? {}, { tables: { kind: { columns: { i: { type: "money!" } } } } }),
    exit: [2],
    codes: /CONFIG_INVALID/,
  },
  {
    name: "no YAML",
    change: () => {},
    exit: [2],
    codes: /CONFIG_INVALID/,
  },
];
const PASSWORD_URL = "postgres://u:hostile-Pa55word@h/d";

const wrongKind: Kind = {
  name: "wrong-configuration",
  weight: 3,
  alone: true,
  plan: (_, pick) => ({
    operation: {
      op: "wrong-configuration",
      which: pick(WRONG.length),
      command: of(pick, ["run", "run", "check", "backfill"]),
    },
  }),
  async perform(world, { which, command: name }) {
    const wrong = WRONG[which as number];
    if (!wrong) return false;
    const folder = join(world.sidecar.folder, `wrong-${world.said.length}`);
    mkdirSync(folder, { recursive: true });
    const configuration = JSON.parse(readFileSync(world.sidecar.config, "utf8")) as Configuration;
    Object.assign(configuration, {
      flag: join(folder, "flag"),
      route: join(folder, "route.json"),
      http: { listen: "off" },
    });
    wrong.change(configuration, world, folder);
    const config = join(folder, "switchback.yaml");
    writeFileSync(config, wrong.name === "no YAML" ? "sources: [\n  - {" : JSON.stringify(configuration));
    const { code, stdout, stderr } = await command([name as string, "--config", config], {
      cwd: folder,
      timeoutMs: 30_000,
    });
    world.said.push(`${stdout}${stderr}`);
    const ok =
      name === "check"
        ? code !== 70 && code !== null
        : wrong.exit.includes(code ?? -1) && wrong.codes.test(stderr);
    if (!ok) throw new Wrong(`${wrong.name}: ${name} ended with ${code}: ${stdout}${stderr}`);
    return true;
  },
};

const besideKind: Kind = {
  name: "beside",
  weight: 2,
  plan: (_, pick) => ({
    operation: {
      op: "beside",
      args: of(pick, [
        ["verify"],
        ["status"],
        ["check"],
        ["plan"],
        ["verify", "--table", "kind"],
        ["teardown"],
        ["backfill"],
      ]),
    },
  }),
  async perform(world, { args }) {
    const { code, stdout, stderr } = await world.command(args as string[]);
    if (code === 70 || code === null) throw new Wrong(`${args} ended with ${code}: ${stdout}${stderr}`);
    const [name] = args as string[];
    if ((name === "teardown" || name === "backfill") && code === 0)
      throw new Wrong(`${name} beside a sidecar ended with 0`);
    return true;
  },
};

export const outsiderKinds: readonly Kind[] = [secondKind, wrongKind, besideKind];
