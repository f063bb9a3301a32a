// The findings of `check`, `plan` and the preconditions of a flip, and the form of counts in them.

/** One finding of `check`, `plan` or the preconditions. */
export interface Finding {
  readonly severity: "blocker" | "warning" | "note";
  /** Stable, lower case with dashes, for scripts. */
  readonly code: string;
  readonly source: string;
  readonly table?: string;
  readonly column?: string;
  /** An example key, as JSON text. */
  readonly key?: string;
  readonly message: string;
  readonly remedy: string;
}

/** `1 row`, `2 rows`, `1,000 rows`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
