// The application's library, `sqlite-switchback/client`: one database handle that follows the route between
// SQLite and PostgreSQL. This file is only its public interface.
import { Handle } from "./database.js";
import { type ConnectOptions, resolveOptions } from "./options.js";

export type { Handle, Prepared } from "./database.js";
export {
  ClientError,
  ConnectionError,
  type Constraint,
  QueryError,
  type StoreName,
  TransactionError,
} from "./errors.js";
export { type Fence, fenceOf } from "./fence.js";
export type { Health, StoreHealth } from "./health.js";
export type { Metrics, StoreMetrics } from "./metrics.js";
export type { ConnectOptions, Isolation } from "./options.js";
export type { Executed, Transaction } from "./transaction.js";
export type { Row, Value } from "./values.js";

/**
 * A handle; nothing is opened before `initialize` or the first call.
 * @throws ConnectionError code CONFIGURATION, naming everything that is invalid or missing
 */
export function connect(options: ConnectOptions = {}): Handle {
  return new Handle(resolveOptions(options, process.env, process.cwd()));
}
