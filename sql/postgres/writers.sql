-- $1 tables. Returns the other transactions that hold a lock on one of them under which they may have written, or may
-- be about to. Each holds it until it ends. Prepared transactions are included.
SELECT DISTINCT l.virtualtransaction AS writer
  FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'relation' AND l.granted
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
   AND l.relation = ANY ($1::regclass[]::oid[])
   AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND l.pid IS DISTINCT FROM pg_backend_pid();
