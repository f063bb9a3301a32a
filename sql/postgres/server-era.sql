-- Which run of the server answers: its start, its own processes, and the session.
SELECT pg_postmaster_start_time()::text AS started, array_agg(pid) AS processes,
       pg_backend_pid() AS backend
  FROM pg_stat_activity WHERE datid IS NULL AND pid IS NOT NULL;
