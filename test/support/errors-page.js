// docs/errors.md, made from the table in src/errors.ts. `npm run docs` writes it; a test compares the two.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { NOTICES } from "#switchback/error-kind.js";
import { ERRORS } from "#switchback/errors.js";

/** @type {[side: string, title: string][]} */
const SIDES = [
  ["configuration", "Usage and configuration"],
  ["sqlite", "SQLite"],
  ["postgres", "PostgreSQL"],
  ["switchback", "Answers and states"],
];

const INTRODUCTION = `# What does an error mean?

<!-- Written by \`npm run docs\` from the table of errors. Do not edit. -->

An error is one line on stderr, \`switchback: CODE what happened\`, and one line that says what to do. With \`--json\` it is also one document on stdout:

\`\`\`json
{ "error": { "code": "SQLITE_BUSY", "message": "…", "hint": "…", "where": { "source": "app", "table": "orders" } } }
\`\`\`

The running sidecar retries after errors marked \`retry\`, with back-off. The others need the operator. The exit code is that of a command that ends with the error; all are listed in [cli](cli.md#exit-codes).
`;

const REST = `
## Codes without an exit code of their own

| code | where | what to do |
|---|---|---|
| \`NOT_RUNNING\` | a problem in \`status\`: no sidecar runs | ${NOTICES.NOT_RUNNING.hint} |
| \`STOPPED\` | in \`--json\`, when a signal ended the command before it was done | ${NOTICES.STOPPED.hint} |

The application's library has error classes of its own; see [client](client.md#errors).
`;

/** The whole page. */
export function errorsPage() {
  const sections = SIDES.map(([side, title]) => {
    const rows = Object.entries(ERRORS)
      .filter(([, kind]) => kind.side === side)
      .map(([code, { exit, retry, hint }]) => `| \`${code}\` | ${exit} | ${retry} | ${hint.replaceAll("|", "\\|")} |`);
    return `\n## ${title}\n\n| code | exit | who acts | what to do |\n|---|---|---|---|\n${rows.join("\n")}\n`;
  });
  return [INTRODUCTION, ...sections, REST].join("");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL("../../docs/errors.md", import.meta.url), errorsPage());
}
