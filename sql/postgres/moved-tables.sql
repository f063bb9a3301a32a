-- $1 tables. Whether one of them has another file now than in the transaction's snapshot, as after a TRUNCATE.
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_class AS c
   WHERE c.oid = ANY ($1::regclass[]) AND c.relfilenode <> 0
     AND c.relfilenode <> pg_catalog.pg_relation_filenode(c.oid)
) AS moved;
