-- $1 sources, $2 owner. Whether PostgreSQL has the writes, and this owner all of the sources.
SELECT (SELECT count(*) FROM switchback.source WHERE name = ANY ($1) AND owner = $2) = cardinality($1)
       AND EXISTS (SELECT 1 FROM switchback.route WHERE writes = 'postgres') AS ours;
