-- A followed table keeps its records when SQLite renames it.
ALTER TABLE switchback.range
  DROP CONSTRAINT range_source_table_name_fkey,
  ADD CONSTRAINT range_source_table_name_fkey FOREIGN KEY (source, table_name)
    REFERENCES switchback.followed ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE switchback.quarantine
  DROP CONSTRAINT quarantine_source_table_name_fkey,
  ADD CONSTRAINT quarantine_source_table_name_fkey FOREIGN KEY (source, table_name)
    REFERENCES switchback.followed ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE switchback.suspended
  DROP CONSTRAINT suspended_source_table_name_fkey,
  ADD CONSTRAINT suspended_source_table_name_fkey FOREIGN KEY (source, table_name)
    REFERENCES switchback.followed ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE switchback.unknown
  DROP CONSTRAINT unknown_source_table_name_fkey,
  ADD CONSTRAINT unknown_source_table_name_fkey FOREIGN KEY (source, table_name)
    REFERENCES switchback.followed ON UPDATE CASCADE ON DELETE CASCADE;
