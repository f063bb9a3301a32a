-- What the server is and what this role may do in this database.
SELECT current_setting('server_version_num')::integer AS version,
       current_setting('server_version') AS version_text,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       current_user AS role,
       current_database() AS database,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_use_temporary
