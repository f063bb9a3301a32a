-- $1 table numbers, $2 the tables' quoted names, in the same order. Returns the installed parts of each table's
-- capture: its function, and the triggers that call it unconditionally, as `type enabled old-table new-table`.
SELECT w.id,
       p.prosrc AS body,
       coalesce(p.prosecdef, false) AS definer,
       coalesce(p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS a WHERE a.grantee = 0), false) AS callable,
       coalesce(p.proconfig, '{}') AS settings,
       (SELECT coalesce(json_object_agg(t.tgname, concat_ws(' ', t.tgtype, t.tgenabled, t.tgoldtable, t.tgnewtable)), '{}')
          FROM pg_catalog.pg_trigger t
         WHERE t.tgrelid = to_regclass(w.name) AND t.tgfoid = p.oid AND t.tgname ~ '^switchback_capture_'
           AND t.tgqual IS NULL AND t.tgattr::text = '') AS triggers
  FROM unnest($1::int[], $2::text[]) AS w(id, name)
  LEFT JOIN pg_catalog.pg_proc p
    ON p.pronamespace = to_regnamespace('switchback') AND p.proname = 'capture_' || w.id;
