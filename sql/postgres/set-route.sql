-- $1 who has the writes, $2 epoch, $3 who had them and $4 epoch before, $5 the transaction's synchronous_commit. Moves
-- the route from one state to the next. It changes no row outside of a transaction of that kind.
UPDATE switchback.route SET writes = $1, epoch = $2, changed_at = clock_timestamp()
 WHERE writes = $3 AND epoch = $4 AND current_setting('synchronous_commit') = $5;
