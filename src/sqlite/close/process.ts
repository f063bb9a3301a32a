// Closes one file in a separate process. A file that was moved to the path shares the names of its -wal and
// -shm files with the one that the sidecar has open. A process that has both open takes no locks against
// itself.
import { type CloseOrder, closeFile } from "./close.js";

const PATIENCE_MS = 5_000;

const order = JSON.parse(process.argv[2] ?? "null") as CloseOrder;
try {
  const found = await closeFile(order, AbortSignal.timeout(PATIENCE_MS));
  process.stdout.write(JSON.stringify({ found }));
} catch (error) {
  process.stdout.write(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
}
