-- $1 source. How many of its changes were carried over, and how many wait.
SELECT s.consumed,
       (SELECT count(*) FROM switchback.change c JOIN switchback.followed f ON f.id = c.t
         WHERE f.source = s.name) AS pending
  FROM switchback.source s WHERE s.name = $1;
