// A log that says nothing, for what needs one.
import { type Logger, pino } from "pino";

export function silentLog(): Logger {
  return pino({ level: "silent" });
}
