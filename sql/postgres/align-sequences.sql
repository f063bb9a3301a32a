-- $1 a table. Sets the sequence of every identity or serial column to the largest value in it or given, so that the next
-- row gets the next number. A copy alone leaves them at 1.
SELECT pg_catalog.setval(s.sequence, greatest(s.largest, pg_catalog.pg_sequence_last_value(s.sequence)))
  FROM (SELECT pg_catalog.pg_get_serial_sequence($1, a.attname)::regclass AS sequence,
               (pg_catalog.xpath('/row/largest/text()',
                                 pg_catalog.query_to_xml(format('SELECT max(%I) AS largest FROM %s', a.attname, $1),
                                                         false, true, '')))[1]::text::bigint AS largest
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND pg_catalog.pg_get_serial_sequence($1, a.attname) IS NOT NULL) AS s
 WHERE s.largest >= 1;
