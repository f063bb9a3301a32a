-- Foreign keys in the order of the DDL: SQLite numbers them backwards. "to" is NULL where the DDL names no columns.
SELECT id, "table", "from", "to", on_update, on_delete
FROM pragma_foreign_key_list(?, 'main')
ORDER BY id DESC, seq
