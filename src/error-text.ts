// What a caught value says: a text that is never empty. Some errors of Node have no message of their own: an
// AggregateError of connections that failed, an AbortError, a system error with a code only.

/** The message; without one the parts of an aggregate, the cause, the code or the name. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error ?? "").trim() || "no reason was given";
  const message = error.message.trim();
  if (message !== "") return message;
  if (error instanceof AggregateError && error.errors.length > 0)
    return [...new Set(error.errors.map(errorText))].join("; ");
  if (error.cause !== undefined) return errorText(error.cause);
  const code = "code" in error ? String(error.code) : "";
  return (
    code || (error.name === "AbortError" ? "it was interrupted" : `an error without a message: ${error.name}`)
  );
}
