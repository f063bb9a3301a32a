-- $1 source, $2 owner, $3 position, $4 number of changes, $5 the window's fingerprint. Moves the position past them.
UPDATE switchback.source SET consumed = consumed + $4, carried = $5
 WHERE name = $1 AND owner = $2 AND consumed = $3;
