-- $1 tables, as statements name them. Returns the shape of each, by its position in $1 (from 1), in PostgreSQL's
-- canonical text. The text names no table: two tables have the same shape when these texts are equal. A missing table
-- has no rows. Foreign keys are not part of it: while SQLite has the writes they stand in switchback.suspended.
WITH wanted AS (
  SELECT x.place::int AS place, to_regclass(x.name)::oid AS id FROM unnest($1::text[]) WITH ORDINALITY AS x(name, place)
), terms AS (
  SELECT i.indexrelid AS id, term.n > i.indnkeyatts AS included,
         string_agg(
           pg_get_indexdef(i.indexrelid, term.n, false)
           || CASE WHEN term.n > i.indnkeyatts OR coalesce(k.collname, 'default') = 'default' THEN '' ELSE format(' COLLATE %I', k.collname) END
           || CASE WHEN term.n > i.indnkeyatts OR o.opcdefault THEN '' ELSE ' ' || o.opcname END
           || CASE WHEN term.n > i.indnkeyatts THEN '' WHEN i.indoption[term.n - 1] & 1 = 1 THEN ' DESC' ELSE '' END
           || CASE WHEN term.n > i.indnkeyatts OR (i.indoption[term.n - 1] & 1 = 1) = (i.indoption[term.n - 1] & 2 = 2) THEN ''
                   WHEN i.indoption[term.n - 1] & 2 = 2 THEN ' NULLS FIRST' ELSE ' NULLS LAST' END,
           ', ' ORDER BY term.n) AS list
    FROM wanted
    JOIN pg_catalog.pg_index i ON i.indrelid = wanted.id
    CROSS JOIN generate_series(1, i.indnatts) AS term(n)
    LEFT JOIN pg_catalog.pg_collation k ON term.n <= i.indnkeyatts AND k.oid = i.indcollation[term.n - 1]
    LEFT JOIN pg_catalog.pg_opclass o ON term.n <= i.indnkeyatts AND o.oid = i.indclass[term.n - 1]
   GROUP BY 1, 2
)
SELECT w.place, 'column' AS kind, a.attname::text AS name, a.attnum::int AS rank,
       format_type(a.atttypid, a.atttypmod)
         || CASE WHEN a.attcollation = t.typcollation THEN '' ELSE format(' COLLATE %I', k.collname) END AS definition,
       a.attnotnull AS not_null, a.attidentity::text AS identity, a.attgenerated::text AS generated,
       pg_get_expr(d.adbin, d.adrelid) AS value, NULL AS statement
  FROM wanted w
  JOIN pg_catalog.pg_attribute a ON a.attrelid = w.id AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_collation k ON k.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT w.place, 'unlogged', c.relname, 0, '', false, '', '', NULL, NULL
  FROM wanted w
  JOIN pg_catalog.pg_class c ON c.oid = w.id AND c.relpersistence = 'u'
UNION ALL
SELECT w.place, CASE c.contype WHEN 'c' THEN 'check' ELSE 'exclusion' END, c.conname, 0, pg_get_constraintdef(c.oid),
       false, '', '', NULL, NULL
  FROM wanted w
  JOIN pg_catalog.pg_constraint c ON c.conrelid = w.id AND c.contype IN ('c', 'x')
UNION ALL
SELECT w.place, CASE WHEN i.indisprimary THEN 'primary key' WHEN i.indisunique THEN 'unique' ELSE 'index' END, x.relname, 0,
       concat_ws(' ', CASE WHEN c.oid IS NOT NULL AND NOT i.indisprimary THEN 'constraint' END, CASE WHEN c.condeferrable THEN 'deferrable' END,
                 m.amname, format('(%s)', keys.list), 'INCLUDE (' || included.list || ')',
                 CASE WHEN to_jsonb(i) ->> 'indnullsnotdistinct' = 'true' THEN 'NULLS NOT DISTINCT' END,
                 'WHERE ' || pg_get_expr(i.indpred, i.indrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END),
       false, '', '', NULL, pg_get_indexdef(i.indexrelid)
  FROM wanted w
  JOIN pg_catalog.pg_index i ON i.indrelid = w.id
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_am m ON m.oid = x.relam
  JOIN terms keys ON keys.id = i.indexrelid AND NOT keys.included
  LEFT JOIN terms included ON included.id = i.indexrelid AND included.included
  LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u')
 WHERE NOT i.indisexclusion
 ORDER BY 1, 2, 4, 3;
