// The text of the fence: the trigger on the change log that refuses every captured write while a row closes it.

export const FENCE = "_switchback_fence";

export function fenceTrigger(epoch: number): string {
  return (
    `CREATE TRIGGER ${FENCE} BEFORE INSERT ON _switchback_log BEGIN ` +
    "SELECT RAISE(IGNORE) FROM _switchback_applying; " +
    `SELECT RAISE(ABORT, 'switchback: writes have moved to PostgreSQL (epoch ${epoch})') FROM _switchback_fenced; END`
  );
}
