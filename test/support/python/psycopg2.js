// The other end of psycopg2.py: runs each statement of its standard input on one connection and answers with the
// error's message, or null.
import { createInterface } from "node:readline";
import pg from "pg";

const client = new pg.Client({ connectionString: process.argv[2] });
client.on("error", () => process.exit(1));
await client.connect();
const run = ({ sql, values }) => client.query(sql, values);
for await (const line of createInterface({ input: process.stdin })) {
  const error = await run(JSON.parse(line)).then(
    () => null,
    ({ message }) => message,
  );
  process.stdout.write(`${JSON.stringify({ error })}\n`);
}
await client.end();
