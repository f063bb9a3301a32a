-- $1 an index, $2 its table. Returns whether the index exists and is usable, and whether it is the table's primary
-- key.
SELECT EXISTS (SELECT 1
                 FROM pg_catalog.pg_index i
                WHERE i.indexrelid = to_regclass($1) AND i.indrelid = to_regclass($2) AND i.indisvalid) AS built,
       EXISTS (SELECT 1
                 FROM pg_catalog.pg_constraint c
                WHERE c.conrelid = to_regclass($2) AND c.contype = 'p') AS attached;
