-- $1 source, $2 position, $3 equal or not, $4 how many rows differ, $5 when it began. Records the last comparison.
INSERT INTO switchback.verification (source, at, position, equal, different) VALUES ($1, $5, $2, $3, $4)
ON CONFLICT (source) DO UPDATE
  SET at = excluded.at, position = excluded.position, equal = excluded.equal, different = excluded.different;
