// The command line's grammar: the table in commands.ts as a commander program. It reads nothing and exits nothing;
// the caller provides the action of a parsed command.
import { Command, Option, type OptionValues } from "commander";
import { LEVELS } from "../telemetry/log.js";
import { VERSION } from "../version.js";
import { COMMANDS, type CommandEntry, HELP_EXAMPLES, HELP_REFERENCE } from "./commands.js";

export function buildProgram(act: (entry: CommandEntry, options: OptionValues) => Promise<void>): Command {
  const program = new Command("switchback")
    .description(
      "Moves a live SQLite application onto PostgreSQL without stopping it, and can bring it back.",
    )
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .option("--config <file>", "the configuration file (default: ./switchback.yaml where it exists)")
    .option("--sqlite <file>", "a SQLite file to move; repeat it for several", collect)
    .option("--postgres <url>", "the PostgreSQL database to move to")
    .option("--embedded", "start and keep an embedded PostgreSQL under .switchback/")
    .option("--json", "print one JSON document on stdout; logs go to stderr")
    .addOption(new Option("--log-level <level>", "how much to log on stderr").choices(LEVELS))
    .addHelpText("after", HELP_EXAMPLES + HELP_REFERENCE)
    .configureHelp({ showGlobalOptions: true })
    // report() prints errors, once and in one form.
    .configureOutput({ outputError: () => {} })
    .exitOverride();
  for (const entry of COMMANDS) {
    const command = program
      .command(entry.name)
      .summary(entry.summary)
      .description(entry.description)
      .helpOption("-h, --help", "print help")
      .configureHelp({ showGlobalOptions: true })
      .addHelpText(
        "after",
        `\nExamples:\n${entry.examples.map((line) => `  ${line}`).join("\n")}\n${HELP_REFERENCE}`,
      )
      .action((...given) => {
        const self = given.at(-1) as Command;
        return act(entry, { ...self.optsWithGlobals(), operands: self.args });
      });
    if (entry.operands) command.argument(...entry.operands);
    for (const { flags, help, choices } of entry.options ?? []) {
      const option = new Option(flags, help);
      command.addOption(choices ? option.choices(choices) : option);
    }
  }
  return program;
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}
