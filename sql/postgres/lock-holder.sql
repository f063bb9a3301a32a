-- $1 the number of the lock. The session that holds it, in this database; no row where it is free.
SELECT a.pid, a.usename AS role, a.application_name, coalesce(' from ' || host(a.client_addr), '') AS address,
       coalesce(' since ' || a.backend_start, '') AS since
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND ((l.classid::bigint << 32) | l.objid::bigint) = $1::bigint;
