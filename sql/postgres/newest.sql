-- $1 source, $2 numbers of its tables. The position of the newest change.
SELECT consumed + (SELECT count(*) FROM switchback.change WHERE t = ANY ($2)) AS newest
  FROM switchback.source WHERE name = $1;
