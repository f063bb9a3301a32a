-- $1 schema, $2 table names. Returns the columns, and the unique and exclusion indexes of each table. An index has
-- its plain columns, whether ON CONFLICT may name it (complete, immediate, no expression), and every column on which
-- it depends.
SELECT t.relname AS name,
       (SELECT json_agg(json_build_object(
                 'columns', (SELECT coalesce(json_agg(a.attname), '[]')
                               FROM pg_catalog.pg_attribute a
                              WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])),
                 'plain',   i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL,
                 'depends', (SELECT coalesce(json_agg(DISTINCT a.attname), '[]')
                               FROM pg_catalog.pg_attribute a
                              WHERE a.attrelid = t.oid
                                AND (a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                                     OR a.attnum IN (SELECT d.refobjsubid
                                                       FROM pg_catalog.pg_depend d
                                                      WHERE d.classid = 'pg_catalog.pg_class'::regclass
                                                        AND d.objid = i.indexrelid
                                                        AND d.refclassid = 'pg_catalog.pg_class'::regclass
                                                        AND d.refobjid = t.oid))
                                AND a.attnum > 0)))
          FROM pg_catalog.pg_index i
         WHERE i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion)) AS unique_indexes,
       (SELECT json_agg(a.attname)
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = 'a') AS always_identity,
       -- What a new row gets where an INSERT does not name the column.
       (SELECT json_agg(json_build_object(
                 'name', a.attname,
                 'value', CASE WHEN a.attidentity <> ''
                               THEN format('nextval(%L::regclass)', pg_catalog.pg_get_serial_sequence(t.oid::regclass::text, a.attname))
                               ELSE coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 'NULL') END) ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a
          LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
  FROM pg_catalog.pg_class t
  JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace
 WHERE s.nspname = $1 AND t.relname = ANY ($2) AND t.relkind IN ('r', 'p');
