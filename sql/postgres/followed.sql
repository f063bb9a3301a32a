-- $1 source. Returns all records of its tables: mapping, state, ranges with their contents, quarantine.
SELECT f.name, f.id, f.mapping, f.ddl, f.settings, f.estimated, f.state, f.made, f.shape,
       (SELECT count(*) FROM switchback.quarantine q WHERE q.source = f.source AND q.table_name = f.name) AS quarantined,
       (SELECT json_agg(json_build_object('number', r.number, 'lo', r.lo, 'hi', r.hi, 'rows', r.rows) ORDER BY r.number)
          FROM switchback.range r
         WHERE r.source = f.source AND r.table_name = f.name) AS ranges
  FROM switchback.followed f
 WHERE f.source = $1
 ORDER BY f.name;
