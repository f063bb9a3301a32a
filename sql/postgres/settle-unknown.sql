-- $1 source. Forgets what was unknown about its copy before the last comparison that found both stores equal.
DELETE FROM switchback.unknown AS u USING switchback.verification AS v
 WHERE u.source = $1 AND v.source = u.source AND v.equal AND v.at > u.since;
