// The properties of each error code, independent of its message: the columns of the table in errors.ts.

type Side = "sqlite" | "postgres" | "configuration" | "switchback";
type Retry = "retry" | "operator";

export interface ErrorKind {
  readonly side: Side;
  readonly retry: Retry;
  /** 1 the answer is no · 2 usage or configuration · 3 store not reached · 4 refused because of the present state · 70 a bug. */
  readonly exit: 1 | 2 | 3 | 4 | 70;
  /** What to do next, in one sentence. */
  readonly hint: string;
}

/** Codes that commands report besides the errors: each with what to do next. */
export const NOTICES = {
  NOT_RUNNING: { hint: "Start `switchback run`." },
  STOPPED: { hint: "Run the command again; it resumes where it stopped." },
} as const;

export const kind = (side: Side, retry: Retry, exit: ErrorKind["exit"], hint: string): ErrorKind => ({
  side,
  retry,
  exit,
  hint,
});
