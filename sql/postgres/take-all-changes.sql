-- $1 table numbers. Takes every change of the tables out of the log and keeps it for the transaction's reads.
WITH taken AS (
  DELETE FROM switchback.change WHERE t = ANY ($1) RETURNING t, key
)
INSERT INTO pg_temp.switchback_taken (t, key) SELECT t, key FROM taken;
