// Builds the problems that /status lists: from a code of the table of errors, or from an error that was thrown.
import { errorText } from "./error-text.js";
import { ERRORS, type ErrorCode, SwitchbackError, type Where } from "./errors.js";
import type { Problem } from "./status.js";

export function problem(code: ErrorCode, message: string, where: Where = {}): Problem {
  return { code, message, hint: ERRORS[code].hint, ...where };
}

/** An error as the status shows it. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof SwitchbackError) return problem(error.code, error.message, error.where);
  return problem("BUG", errorText(error));
}
