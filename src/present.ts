// What must be there. Where the absence of a row, an element or a record would be a bug, the reader asks for it here.
// It gets an error that names what is missing, not a stand-in that hides it. Where absence is an answer, nothing here
// is used.

/** The value. @throws Error naming it, when there is none */
export function present<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`there is no ${what}`);
  return value;
}

/** The element at that place, counted from 0. @throws Error when the list has no such place */
export function at<T>(list: readonly T[], index: number, what: string): T {
  if (!Number.isInteger(index) || index < 0 || index >= list.length)
    throw new Error(`there is no ${what} at place ${index} of ${list.length}`);
  return list[index] as T;
}

/** The only element. @throws Error when there is none, or more than one */
export function only<T>(list: readonly T[], what: string): T {
  if (list.length !== 1) throw new Error(`expected one ${what}, found ${list.length}`);
  return list[0] as T;
}
