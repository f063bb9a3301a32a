-- $1 table number, $2 JSON array of keys, each an array of texts. Logs them as changed.
INSERT INTO switchback.change (t, key)
SELECT $1, ARRAY(SELECT json_array_elements_text(k)) FROM json_array_elements($2::json) AS k;
