-- Whether the fence is closed, the epoch, and the position that the file has reached as a copy.
SELECT EXISTS (SELECT 1 FROM _switchback_fenced) AS closed, epoch,
       (SELECT position FROM _switchback_position) AS position
  FROM _switchback_route;
