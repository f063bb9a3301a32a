-- $1 table numbers, $2 source, $3 owner, $4 position, $5 the maximum number of changes, $6 the window's fingerprint.
-- Takes every change of the tables out of the log and moves the position past them; with more than $5 changes it does
-- nothing. `seen` is their number (at most $5 + 1), `moved` whether the position could be moved, `taken` the distinct
-- keys per table.
WITH seen AS MATERIALIZED (
  SELECT count(*) AS n FROM (SELECT FROM switchback.change WHERE t = ANY ($1::int[]) LIMIT $5::int + 1) AS c
), taken AS (
  DELETE FROM switchback.change
   WHERE t = ANY ($1::int[]) AND (SELECT n FROM seen) BETWEEN 1 AND $5::int
  RETURNING t, key
), counted AS MATERIALIZED (
  SELECT count(*) AS n FROM taken
), moved AS (
  UPDATE switchback.source SET consumed = consumed + (SELECT n FROM counted), carried = $6
   WHERE name = $2 AND owner = $3 AND consumed = $4::bigint AND (SELECT n FROM counted) > 0
  RETURNING 1
)
SELECT (SELECT n FROM seen)::int AS seen,
       EXISTS (SELECT FROM moved) AS moved,
       (SELECT coalesce(json_agg(json_build_object('id', k.t, 'changes', k.n, 'keys', k.keys)), '[]')
          FROM (SELECT t, count(*) AS n, json_agg(DISTINCT key) AS keys FROM taken GROUP BY t) AS k) AS taken;
