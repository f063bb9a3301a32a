-- $1 tables. Returns the sequence behind every column of theirs that takes its numbers from one, by the table's
-- position in $1 (from 1). That is the sequence on which the default depends, owned by the column or not, else that
-- of the identity. `obstacle` says why its next number cannot be derived from the column's values, or why it cannot
-- be set.
WITH numbered AS (
  SELECT array_position($1::regclass[], a.attrelid::regclass) AS place, a.attname AS column, d.oid AS default_oid,
         pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression,
         pg_catalog.pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)::regclass AS owned,
         coalesce(nullif(t.typbasetype, 0), t.oid) = ANY ('{int2,int4,int8,numeric}'::regtype[]) AS counts
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = ANY ($1::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
), depending AS (
  SELECT n.*, s.oid AS sequence
    FROM numbered n
    JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_attrdef'::regclass AND x.objid = n.default_oid
                               AND x.refclassid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class s ON s.oid = x.refobjid AND s.relkind = 'S'
  UNION
  SELECT n.*, n.owned
    FROM numbered n
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_class s ON s.oid = x.refobjid AND s.relkind = 'S'
                      WHERE x.classid = 'pg_catalog.pg_attrdef'::regclass AND x.objid = n.default_oid
                        AND x.refclassid = 'pg_catalog.pg_class'::regclass)
     AND (n.owned IS NOT NULL OR n.expression ~* '\mnextval\M'
          OR n.counts AND EXISTS (SELECT FROM pg_catalog.pg_depend x
                                   WHERE x.classid = 'pg_catalog.pg_attrdef'::regclass AND x.objid = n.default_oid
                                     AND x.refclassid = 'pg_catalog.pg_proc'::regclass))
)
SELECT d.place, d.column, d.expression, d.sequence::regclass::text AS sequence,
       CASE WHEN d.sequence IS NULL THEN 'unknown'
            WHEN NOT d.counts OR (d.expression IS NOT NULL
                 AND d.expression !~ '^\(?nextval\(''.*''::regclass\)\)?(::(bigint|integer|smallint|numeric))?$') THEN 'expression'
            WHEN q.seqincrement < 0 THEN 'descending'
            WHEN NOT pg_catalog.has_sequence_privilege(d.sequence, 'UPDATE') THEN 'rights'
       END AS obstacle
  FROM depending d
  LEFT JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.sequence
 ORDER BY d.place, d.column;
