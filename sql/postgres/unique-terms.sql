-- $1 table. Returns each unique and exclusion index: its predicate, whether it treats NULLs as equal, and its terms.
-- Each term has the operator by which two rows conflict and the collation of the comparison.
SELECT pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_equal,
       (SELECT json_agg(json_build_object(
                 'expression', pg_catalog.pg_get_indexdef(i.indexrelid, k, false),
                 'operator', (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                                FROM pg_catalog.pg_operator o
                                JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                               WHERE o.oid = coalesce(
                                       (SELECT x.conexclop[k] FROM pg_catalog.pg_constraint x
                                         WHERE x.conindid = i.indexrelid AND x.conexclop IS NOT NULL LIMIT 1),
                                       (SELECT m.amopopr FROM pg_catalog.pg_opclass c
                                          JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
                                               AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
                                         WHERE c.oid = i.indclass[k - 1]))),
                 'collation', (SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
                                 FROM pg_catalog.pg_collation l
                                 JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
                                WHERE l.oid = i.indcollation[k - 1])) ORDER BY k)
          FROM generate_series(1, i.indnkeyatts::int) AS k) AS terms
  FROM pg_catalog.pg_index i
 WHERE i.indrelid = $1::regclass AND i.indisvalid AND (i.indisunique OR i.indisexclusion);
