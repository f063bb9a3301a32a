// The demo as a newcomer runs it: it moves the shop there and back, counts every write, and leaves nothing behind.
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cli } from "../support/cli.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "switchback-test-"));
  // The embedded server may run as another user.
  chmodSync(folder, 0o711);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("the demo goes there and back, and finds every acknowledged write once in both stores", async () => {
  const { code, stdout, stderr } = await cli(["demo", "--json"], {
    cwd: folder,
    env: { TMPDIR: folder },
    timeoutMs: 120_000,
  });
  const answer = JSON.parse(stdout);
  expect(answer.failures, stderr).toEqual([]);
  expect(code).toBe(0);
  expect(answer.held).toBe(true);
  expect([answer.cutover.epoch, answer.revert.epoch]).toEqual([1, 2]);
  let told = 0;
  for (const { legs } of answer.reports) {
    expect(legs.map(({ store }: { store: string }) => store)).toEqual(["sqlite", "postgres", "sqlite"]);
    told += legs.at(-1).last;
  }
  const once = { found: told, lost: 0, doubled: 0, unknown: 0 };
  expect(answer.receipts).toEqual({ sqlite: once, postgres: once });
  expect(readdirSync(folder)).toEqual([]);
}, 150_000);
