-- One parameter: how many of each product were bought. The products out of balance, and the newest receipt, in one
-- snapshot of either store.
WITH sold AS (
  SELECT product AS id, sum(quantity) AS quantity FROM line GROUP BY product
)
SELECT (SELECT count(*) FROM product LEFT JOIN sold USING (id) WHERE stock + coalesce(quantity, 0) <> ?) AS wrong,
       (SELECT max(id) FROM receipt) AS newest;
