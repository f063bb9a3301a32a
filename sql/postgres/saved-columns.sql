-- $1 source. The columns that were saved of tables that are being copied.
SELECT f.id, f.name, (SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM switchback.followed f
  JOIN pg_catalog.pg_class c ON c.relnamespace = 'switchback'::regnamespace AND c.relname = 'kept_' || f.id
 WHERE f.source = $1 AND f.state <> 'streaming';
