SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA switchback;
ALTER SCHEMA switchback OWNER TO postgres;
CREATE FUNCTION switchback.advance(p_source text, p_owner text, p_from bigint, p_to bigint, p_mark text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  UPDATE switchback.source
     SET position = p_to, mark = p_mark, applied_at = clock_timestamp()
   WHERE name = p_source AND owner = p_owner AND position = p_from;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the position of source % is not % or its owner changed', p_source, p_from USING ERRCODE = 'SB001';
  END IF;
END
$$;
ALTER FUNCTION switchback.advance(p_source text, p_owner text, p_from bigint, p_to bigint, p_mark text) OWNER TO postgres;
CREATE FUNCTION switchback.capture_1() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $$
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO switchback.change (t, key) SELECT 1, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT count(*) FROM (SELECT FROM switchback_new LIMIT 2) AS few) = 1 THEN
      -- One row: without UNION, whose plan may be left over from a statement that touched very many.
      INSERT INTO switchback.change (t, key) SELECT 1, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n;
      INSERT INTO switchback.change (t, key) SELECT 1, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o, switchback_new AS n WHERE ARRAY[o."id"::text COLLATE "C"] IS DISTINCT FROM ARRAY[n."id"::text COLLATE "C"];
    ELSE
      INSERT INTO switchback.change (t, key) SELECT 1, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n UNION SELECT 1, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO switchback.change (t, key) SELECT 1, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o;
  ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- TRUNCATE also empties what was committed after this transaction's snapshot, and nobody can name those keys.
    RAISE EXCEPTION 'switchback: TRUNCATE cannot be followed in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '0A000', HINT = 'Use DELETE, or READ COMMITTED.';
  ELSE
    INSERT INTO switchback.change (t, key) SELECT 1, ARRAY[t."id"::text COLLATE "C"] FROM "public"."account" AS t;
  END IF;
  PERFORM pg_notify('switchback', '') FROM switchback.sleeper LIMIT 1;
  RETURN NULL;
END
$$;
ALTER FUNCTION switchback.capture_1() OWNER TO postgres;
CREATE FUNCTION switchback.capture_2() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $$
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO switchback.change (t, key) SELECT 2, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT count(*) FROM (SELECT FROM switchback_new LIMIT 2) AS few) = 1 THEN
      -- One row: without UNION, whose plan may be left over from a statement that touched very many.
      INSERT INTO switchback.change (t, key) SELECT 2, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n;
      INSERT INTO switchback.change (t, key) SELECT 2, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o, switchback_new AS n WHERE ARRAY[o."id"::text COLLATE "C"] IS DISTINCT FROM ARRAY[n."id"::text COLLATE "C"];
    ELSE
      INSERT INTO switchback.change (t, key) SELECT 2, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n UNION SELECT 2, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO switchback.change (t, key) SELECT 2, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o;
  ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- TRUNCATE also empties what was committed after this transaction's snapshot, and nobody can name those keys.
    RAISE EXCEPTION 'switchback: TRUNCATE cannot be followed in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '0A000', HINT = 'Use DELETE, or READ COMMITTED.';
  ELSE
    INSERT INTO switchback.change (t, key) SELECT 2, ARRAY[t."id"::text COLLATE "C"] FROM "public"."entry" AS t;
  END IF;
  PERFORM pg_notify('switchback', '') FROM switchback.sleeper LIMIT 1;
  RETURN NULL;
END
$$;
ALTER FUNCTION switchback.capture_2() OWNER TO postgres;
CREATE FUNCTION switchback.capture_3() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $$
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO switchback.change (t, key) SELECT 3, ARRAY[n."key"::text COLLATE "C"] FROM switchback_new AS n;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT count(*) FROM (SELECT FROM switchback_new LIMIT 2) AS few) = 1 THEN
      -- One row: without UNION, whose plan may be left over from a statement that touched very many.
      INSERT INTO switchback.change (t, key) SELECT 3, ARRAY[n."key"::text COLLATE "C"] FROM switchback_new AS n;
      INSERT INTO switchback.change (t, key) SELECT 3, ARRAY[o."key"::text COLLATE "C"] FROM switchback_old AS o, switchback_new AS n WHERE ARRAY[o."key"::text COLLATE "C"] IS DISTINCT FROM ARRAY[n."key"::text COLLATE "C"];
    ELSE
      INSERT INTO switchback.change (t, key) SELECT 3, ARRAY[n."key"::text COLLATE "C"] FROM switchback_new AS n UNION SELECT 3, ARRAY[o."key"::text COLLATE "C"] FROM switchback_old AS o;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO switchback.change (t, key) SELECT 3, ARRAY[o."key"::text COLLATE "C"] FROM switchback_old AS o;
  ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- TRUNCATE also empties what was committed after this transaction's snapshot, and nobody can name those keys.
    RAISE EXCEPTION 'switchback: TRUNCATE cannot be followed in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '0A000', HINT = 'Use DELETE, or READ COMMITTED.';
  ELSE
    INSERT INTO switchback.change (t, key) SELECT 3, ARRAY[t."key"::text COLLATE "C"] FROM "public"."setting" AS t;
  END IF;
  PERFORM pg_notify('switchback', '') FROM switchback.sleeper LIMIT 1;
  RETURN NULL;
END
$$;
ALTER FUNCTION switchback.capture_3() OWNER TO postgres;
CREATE FUNCTION switchback.capture_4() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $$
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO switchback.change (t, key) SELECT 4, ARRAY[n."_switchback_rowid"::text COLLATE "C"] FROM switchback_new AS n;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT count(*) FROM (SELECT FROM switchback_new LIMIT 2) AS few) = 1 THEN
      -- One row: without UNION, whose plan may be left over from a statement that touched very many.
      INSERT INTO switchback.change (t, key) SELECT 4, ARRAY[n."_switchback_rowid"::text COLLATE "C"] FROM switchback_new AS n;
      INSERT INTO switchback.change (t, key) SELECT 4, ARRAY[o."_switchback_rowid"::text COLLATE "C"] FROM switchback_old AS o, switchback_new AS n WHERE ARRAY[o."_switchback_rowid"::text COLLATE "C"] IS DISTINCT FROM ARRAY[n."_switchback_rowid"::text COLLATE "C"];
    ELSE
      INSERT INTO switchback.change (t, key) SELECT 4, ARRAY[n."_switchback_rowid"::text COLLATE "C"] FROM switchback_new AS n UNION SELECT 4, ARRAY[o."_switchback_rowid"::text COLLATE "C"] FROM switchback_old AS o;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO switchback.change (t, key) SELECT 4, ARRAY[o."_switchback_rowid"::text COLLATE "C"] FROM switchback_old AS o;
  ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- TRUNCATE also empties what was committed after this transaction's snapshot, and nobody can name those keys.
    RAISE EXCEPTION 'switchback: TRUNCATE cannot be followed in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '0A000', HINT = 'Use DELETE, or READ COMMITTED.';
  ELSE
    INSERT INTO switchback.change (t, key) SELECT 4, ARRAY[t."_switchback_rowid"::text COLLATE "C"] FROM "public"."visit" AS t;
  END IF;
  PERFORM pg_notify('switchback', '') FROM switchback.sleeper LIMIT 1;
  RETURN NULL;
END
$$;
ALTER FUNCTION switchback.capture_4() OWNER TO postgres;
CREATE FUNCTION switchback.fence() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  RETURN NULL;
END
$$;
ALTER FUNCTION switchback.fence() OWNER TO postgres;
CREATE FUNCTION switchback.hold(p_source text, p_owner text, p_position bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  PERFORM 1 FROM switchback.source WHERE name = p_source AND owner = p_owner AND position = p_position FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the position of source % is not % or its owner changed', p_source, p_position USING ERRCODE = 'SB001';
  END IF;
END
$$;
ALTER FUNCTION switchback.hold(p_source text, p_owner text, p_position bigint) OWNER TO postgres;
CREATE FUNCTION switchback.insert_each(p_insert text, p_last bigint) RETURNS TABLE(n bigint, reason text)
    LANGUAGE plpgsql
    AS $$
BEGIN
  FOR i IN 1 .. p_last LOOP
    BEGIN
      EXECUTE p_insert USING i;
    EXCEPTION
      -- Values and constraints are the row's fault; anything else is not and must surface.
      WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        n := i;
        reason := SQLERRM;
        RETURN NEXT;
    END;
  END LOOP;
END
$$;
ALTER FUNCTION switchback.insert_each(p_insert text, p_last bigint) OWNER TO postgres;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.account (
    id bigint NOT NULL,
    name text NOT NULL,
    balance numeric DEFAULT 0
);
ALTER TABLE public.account OWNER TO postgres;
ALTER TABLE public.account ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.account_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.entry (
    id bigint NOT NULL,
    account bigint,
    at timestamp with time zone,
    note text
);
ALTER TABLE public.entry OWNER TO postgres;
ALTER TABLE public.entry ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.entry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.setting (
    key text NOT NULL,
    value jsonb
);
ALTER TABLE public.setting OWNER TO postgres;
CREATE TABLE public.visit (
    page text,
    hits bigint,
    _switchback_rowid bigint NOT NULL
);
ALTER TABLE public.visit OWNER TO postgres;
ALTER TABLE public.visit ALTER COLUMN _switchback_rowid ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.visit__switchback_rowid_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE switchback.change (
    t integer NOT NULL,
    key text[] NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_analyze_threshold='5000');
ALTER TABLE switchback.change OWNER TO postgres;
CREATE TABLE switchback.followed (
    source text NOT NULL,
    name text NOT NULL,
    id integer NOT NULL,
    mapping jsonb NOT NULL,
    ddl text NOT NULL,
    settings text NOT NULL,
    estimated bigint DEFAULT 0 NOT NULL,
    state text NOT NULL,
    made boolean NOT NULL,
    CONSTRAINT followed_state_check CHECK ((state = ANY (ARRAY['copying'::text, 'finishing'::text, 'streaming'::text])))
);
ALTER TABLE switchback.followed OWNER TO postgres;
ALTER TABLE switchback.followed ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME switchback.followed_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE switchback.quarantine (
    source text NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    column_name text,
    reason text NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE switchback.quarantine OWNER TO postgres;
CREATE TABLE switchback.range (
    source text NOT NULL,
    table_name text NOT NULL,
    number integer NOT NULL,
    lo text,
    hi text,
    rows bigint
);
ALTER TABLE switchback.range OWNER TO postgres;
CREATE TABLE switchback.route (
    one boolean DEFAULT true NOT NULL,
    writes text NOT NULL,
    epoch bigint NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT route_one_check CHECK (one),
    CONSTRAINT route_writes_check CHECK ((writes = ANY (ARRAY['sqlite'::text, 'paused'::text, 'postgres'::text])))
);
ALTER TABLE switchback.route OWNER TO postgres;
CREATE TABLE switchback.sleeper (
    source text NOT NULL
);
ALTER TABLE switchback.sleeper OWNER TO postgres;
CREATE TABLE switchback.source (
    name text NOT NULL,
    identity text NOT NULL,
    file text NOT NULL,
    schema text NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    mark text,
    version bigint DEFAULT '-1'::integer NOT NULL,
    applied_at timestamp with time zone,
    consumed bigint DEFAULT 0 NOT NULL,
    carried text DEFAULT ''::text NOT NULL,
    owner text
)
WITH (fillfactor='20');
ALTER TABLE switchback.source OWNER TO postgres;
CREATE TABLE switchback.suspended (
    source text NOT NULL,
    table_name text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    CONSTRAINT suspended_kind_check CHECK ((kind = ANY (ARRAY['foreign key'::text, 'reference'::text, 'trigger'::text])))
);
ALTER TABLE switchback.suspended OWNER TO postgres;
CREATE TABLE switchback.unknown (
    source text NOT NULL,
    table_name text NOT NULL,
    reason text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE switchback.unknown OWNER TO postgres;
CREATE TABLE switchback.verification (
    source text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    "position" bigint NOT NULL,
    equal boolean NOT NULL,
    different bigint NOT NULL
);
ALTER TABLE switchback.verification OWNER TO postgres;
INSERT INTO public.account VALUES (3, 'Edsger', 1.25);
INSERT INTO public.account VALUES (1, 'Ada L.', 11.5);
INSERT INTO public.account VALUES (2, 'Grace H.', 4);
INSERT INTO public.entry VALUES (1, 1, '2024-05-06 07:08:09+00', 'first');
INSERT INTO public.entry VALUES (2, 2, '2024-05-06 07:08:10+00', NULL);
INSERT INTO public.entry VALUES (3, 3, '2024-05-06 07:08:11+00', 'followed');
INSERT INTO public.entry VALUES (4, 1, '2024-05-06 08:00:00+00', 'in PostgreSQL');
INSERT INTO public.setting VALUES ('ratio', '1.5');
INSERT INTO public.setting VALUES ('size', '12');
INSERT INTO public.setting VALUES ('theme', '"dark"');
INSERT INTO public.visit VALUES ('/', 3, 1);
INSERT INTO switchback.change VALUES (1, '{2}');
INSERT INTO switchback.followed OVERRIDING SYSTEM VALUE VALUES ('app', 'entry', 2, '{"key": [0], "table": {"key": {"kind": "columns", "columns": ["id"]}, "sql": "CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER REFERENCES account (id), at DATETIME, note TEXT)", "name": "entry", "checks": [], "strict": false, "columns": [{"name": "id", "default": null, "notNull": true, "affinity": "INTEGER", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "INTEGER"}, {"name": "account", "default": null, "notNull": false, "affinity": "INTEGER", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "INTEGER"}, {"name": "at", "default": null, "notNull": false, "affinity": "NUMERIC", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "DATETIME"}, {"name": "note", "default": null, "notNull": false, "affinity": "TEXT", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "TEXT"}], "indexes": [{"name": "entry_at", "terms": [{"column": "at", "collation": "BINARY", "descending": false, "expression": null}], "where": null, "origin": "c", "unique": false}], "primaryKey": ["id"], "rowidAlias": "rowid", "foreignKeys": [{"parent": "account", "columns": ["account"], "deferred": false, "onDelete": "NO ACTION", "onUpdate": "NO ACTION", "parentColumns": ["id"]}], "withoutRowid": false, "autoincrement": false, "integerPrimaryKey": "id"}, "schema": "public", "target": "entry", "columns": [{"spec": {"type": "bigint", "strict": true, "affinity": "INTEGER"}, "column": "id", "source": "\"id\"", "target": "id", "notNull": true}, {"spec": {"type": "bigint", "affinity": "INTEGER"}, "column": "account", "source": "\"account\"", "target": "account", "notNull": false}, {"spec": {"type": "timestamptz", "affinity": "NUMERIC", "spelling": "YYYY-MM-DD HH:MM:SS"}, "column": "at", "source": "\"at\"", "target": "at", "notNull": false}, {"spec": {"type": "text", "affinity": "TEXT"}, "column": "note", "source": "\"note\"", "target": "note", "notNull": false}]}', 'CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER REFERENCES account (id), at DATETIME, note TEXT)', '["public","create","drop",null]', 2, 'streaming', true);
INSERT INTO switchback.followed OVERRIDING SYSTEM VALUE VALUES ('app', 'account', 1, '{"key": [0], "table": {"key": {"kind": "columns", "columns": ["id"]}, "sql": "CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, balance DECIMAL(10,2) DEFAULT 0)", "name": "account", "checks": [], "strict": false, "columns": [{"name": "id", "default": null, "notNull": true, "affinity": "INTEGER", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "INTEGER"}, {"name": "name", "default": null, "notNull": true, "affinity": "TEXT", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "TEXT"}, {"name": "balance", "default": "0", "notNull": false, "affinity": "NUMERIC", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "DECIMAL(10,2)"}], "indexes": [{"name": "sqlite_autoindex_account_1", "terms": [{"column": "name", "collation": "BINARY", "descending": false, "expression": null}], "where": null, "origin": "u", "unique": true}], "primaryKey": ["id"], "rowidAlias": "rowid", "foreignKeys": [], "withoutRowid": false, "autoincrement": true, "integerPrimaryKey": "id"}, "schema": "public", "target": "account", "columns": [{"spec": {"type": "bigint", "strict": true, "affinity": "INTEGER"}, "column": "id", "source": "\"id\"", "target": "id", "notNull": true}, {"spec": {"type": "text", "strict": true, "affinity": "TEXT", "bytesMax": 2600}, "column": "name", "source": "\"name\"", "target": "name", "notNull": true}, {"spec": {"type": "numeric", "affinity": "NUMERIC"}, "column": "balance", "source": "\"balance\"", "target": "balance", "notNull": false}]}', 'CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, balance DECIMAL(10,2) DEFAULT 0)', '["public","create","drop",null]', 3, 'streaming', true);
INSERT INTO switchback.followed OVERRIDING SYSTEM VALUE VALUES ('app', 'visit', 4, '{"key": [2], "table": {"key": {"kind": "rowid", "alias": "rowid"}, "sql": "CREATE TABLE visit (page TEXT, hits INTEGER)", "name": "visit", "checks": [], "strict": false, "columns": [{"name": "page", "default": null, "notNull": false, "affinity": "TEXT", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "TEXT"}, {"name": "hits", "default": null, "notNull": false, "affinity": "INTEGER", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "INTEGER"}], "indexes": [], "primaryKey": [], "rowidAlias": "rowid", "foreignKeys": [], "withoutRowid": false, "autoincrement": false, "integerPrimaryKey": null}, "schema": "public", "target": "visit", "columns": [{"spec": {"type": "text", "affinity": "TEXT"}, "column": "page", "source": "\"page\"", "target": "page", "notNull": false}, {"spec": {"type": "bigint", "affinity": "INTEGER"}, "column": "hits", "source": "\"hits\"", "target": "hits", "notNull": false}, {"spec": {"type": "bigint", "affinity": "INTEGER"}, "column": null, "source": "rowid", "target": "_switchback_rowid", "notNull": true}]}', 'CREATE TABLE visit (page TEXT, hits INTEGER)', '["public","create","drop",null]', 2, 'streaming', true);
INSERT INTO switchback.followed OVERRIDING SYSTEM VALUE VALUES ('app', 'setting', 3, '{"key": [0], "table": {"key": {"kind": "columns", "columns": ["key"]}, "sql": "CREATE TABLE setting (key TEXT PRIMARY KEY, value) WITHOUT ROWID", "name": "setting", "checks": [], "strict": false, "columns": [{"name": "key", "default": null, "notNull": true, "affinity": "TEXT", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": "TEXT"}, {"name": "value", "default": null, "notNull": false, "affinity": "BLOB", "collation": "BINARY", "generated": "no", "generatedAs": null, "declaredType": ""}], "indexes": [{"name": "sqlite_autoindex_setting_1", "terms": [{"column": "key", "collation": "BINARY", "descending": false, "expression": null}], "where": null, "origin": "pk", "unique": true}], "primaryKey": ["key"], "rowidAlias": null, "foreignKeys": [], "withoutRowid": true, "autoincrement": false, "integerPrimaryKey": null}, "schema": "public", "target": "setting", "columns": [{"spec": {"type": "text", "strict": true, "affinity": "TEXT", "bytesMax": 2600}, "column": "key", "source": "\"key\"", "target": "key", "notNull": true}, {"spec": {"type": "any", "affinity": "BLOB"}, "column": "value", "source": "\"value\"", "target": "value", "notNull": false}]}', 'CREATE TABLE setting (key TEXT PRIMARY KEY, value) WITHOUT ROWID', '["public","create","drop",null]', 3, 'streaming', true);
INSERT INTO switchback.range VALUES ('app', 'account', 0, NULL, NULL, 3);
INSERT INTO switchback.range VALUES ('app', 'entry', 0, NULL, NULL, 2);
INSERT INTO switchback.range VALUES ('app', 'setting', 0, NULL, NULL, 3);
INSERT INTO switchback.range VALUES ('app', 'visit', 0, NULL, NULL, 2);
INSERT INTO switchback.route VALUES (true, 'postgres', 1, '2026-11-21 15:46:21.155665+00');
INSERT INTO switchback.sleeper VALUES ('app');
INSERT INTO switchback.source VALUES ('app', '6f799d4e-c4fd-428b-8d35-20a55b2482a3', '/srv/app.db', 'public', 4, '41H1Yq86JpvXMfuNQhvH3SS3GdqpR7ofZ2IE3Cow9i0=', 36, '2026-11-21 15:46:20.508673+00', 1, '8382fec6-006d-4c47-a065-98023c6bbbe4', '67793397-39ee-44c6-9346-27c9effeaba4');
INSERT INTO switchback.verification VALUES ('app', '2026-11-21 15:46:20.83915+00', 4, true, 0);
SELECT pg_catalog.setval('public.account_id_seq', 3, true);
SELECT pg_catalog.setval('public.entry_id_seq', 4, true);
SELECT pg_catalog.setval('public.visit__switchback_rowid_seq', 1, true);
SELECT pg_catalog.setval('switchback.followed_id_seq', 4, true);
ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_name_key UNIQUE (name);
ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.entry
    ADD CONSTRAINT entry_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.setting
    ADD CONSTRAINT setting_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.visit
    ADD CONSTRAINT visit_pkey PRIMARY KEY (_switchback_rowid);
ALTER TABLE ONLY switchback.followed
    ADD CONSTRAINT followed_id_key UNIQUE (id);
ALTER TABLE ONLY switchback.followed
    ADD CONSTRAINT followed_pkey PRIMARY KEY (source, name);
ALTER TABLE ONLY switchback.range
    ADD CONSTRAINT range_pkey PRIMARY KEY (source, table_name, number);
ALTER TABLE ONLY switchback.route
    ADD CONSTRAINT route_pkey PRIMARY KEY (one);
ALTER TABLE ONLY switchback.sleeper
    ADD CONSTRAINT sleeper_pkey PRIMARY KEY (source);
ALTER TABLE ONLY switchback.source
    ADD CONSTRAINT source_pkey PRIMARY KEY (name);
ALTER TABLE ONLY switchback.suspended
    ADD CONSTRAINT suspended_pkey PRIMARY KEY (source, table_name, kind, name);
ALTER TABLE ONLY switchback.unknown
    ADD CONSTRAINT unknown_pkey PRIMARY KEY (source, table_name, reason);
ALTER TABLE ONLY switchback.verification
    ADD CONSTRAINT verification_pkey PRIMARY KEY (source);
CREATE INDEX entry_at ON public.entry USING btree (at);
CREATE INDEX quarantine_key ON switchback.quarantine USING btree (source, table_name, md5(key));
CREATE TRIGGER switchback_capture_delete AFTER DELETE ON public.account REFERENCING OLD TABLE AS switchback_old FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_1();
ALTER TABLE public.account ENABLE ALWAYS TRIGGER switchback_capture_delete;
CREATE TRIGGER switchback_capture_delete AFTER DELETE ON public.entry REFERENCING OLD TABLE AS switchback_old FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_2();
ALTER TABLE public.entry ENABLE ALWAYS TRIGGER switchback_capture_delete;
CREATE TRIGGER switchback_capture_delete AFTER DELETE ON public.setting REFERENCING OLD TABLE AS switchback_old FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_3();
ALTER TABLE public.setting ENABLE ALWAYS TRIGGER switchback_capture_delete;
CREATE TRIGGER switchback_capture_delete AFTER DELETE ON public.visit REFERENCING OLD TABLE AS switchback_old FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_4();
ALTER TABLE public.visit ENABLE ALWAYS TRIGGER switchback_capture_delete;
CREATE TRIGGER switchback_capture_insert AFTER INSERT ON public.account REFERENCING NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_1();
ALTER TABLE public.account ENABLE ALWAYS TRIGGER switchback_capture_insert;
CREATE TRIGGER switchback_capture_insert AFTER INSERT ON public.entry REFERENCING NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_2();
ALTER TABLE public.entry ENABLE ALWAYS TRIGGER switchback_capture_insert;
CREATE TRIGGER switchback_capture_insert AFTER INSERT ON public.setting REFERENCING NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_3();
ALTER TABLE public.setting ENABLE ALWAYS TRIGGER switchback_capture_insert;
CREATE TRIGGER switchback_capture_insert AFTER INSERT ON public.visit REFERENCING NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_4();
ALTER TABLE public.visit ENABLE ALWAYS TRIGGER switchback_capture_insert;
CREATE TRIGGER switchback_capture_truncate BEFORE TRUNCATE ON public.account FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_1();
ALTER TABLE public.account ENABLE ALWAYS TRIGGER switchback_capture_truncate;
CREATE TRIGGER switchback_capture_truncate BEFORE TRUNCATE ON public.entry FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_2();
ALTER TABLE public.entry ENABLE ALWAYS TRIGGER switchback_capture_truncate;
CREATE TRIGGER switchback_capture_truncate BEFORE TRUNCATE ON public.setting FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_3();
ALTER TABLE public.setting ENABLE ALWAYS TRIGGER switchback_capture_truncate;
CREATE TRIGGER switchback_capture_truncate BEFORE TRUNCATE ON public.visit FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_4();
ALTER TABLE public.visit ENABLE ALWAYS TRIGGER switchback_capture_truncate;
CREATE TRIGGER switchback_capture_update AFTER UPDATE ON public.account REFERENCING OLD TABLE AS switchback_old NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_1();
ALTER TABLE public.account ENABLE ALWAYS TRIGGER switchback_capture_update;
CREATE TRIGGER switchback_capture_update AFTER UPDATE ON public.entry REFERENCING OLD TABLE AS switchback_old NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_2();
ALTER TABLE public.entry ENABLE ALWAYS TRIGGER switchback_capture_update;
CREATE TRIGGER switchback_capture_update AFTER UPDATE ON public.setting REFERENCING OLD TABLE AS switchback_old NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_3();
ALTER TABLE public.setting ENABLE ALWAYS TRIGGER switchback_capture_update;
CREATE TRIGGER switchback_capture_update AFTER UPDATE ON public.visit REFERENCING OLD TABLE AS switchback_old NEW TABLE AS switchback_new FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_4();
ALTER TABLE public.visit ENABLE ALWAYS TRIGGER switchback_capture_update;
CREATE TRIGGER switchback_fence BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.account FOR EACH STATEMENT EXECUTE FUNCTION switchback.fence();
CREATE TRIGGER switchback_fence BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.entry FOR EACH STATEMENT EXECUTE FUNCTION switchback.fence();
CREATE TRIGGER switchback_fence BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.setting FOR EACH STATEMENT EXECUTE FUNCTION switchback.fence();
CREATE TRIGGER switchback_fence BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.visit FOR EACH STATEMENT EXECUTE FUNCTION switchback.fence();
ALTER TABLE ONLY public.entry
    ADD CONSTRAINT entry_account_fkey FOREIGN KEY (account) REFERENCES public.account(id);
ALTER TABLE ONLY switchback.followed
    ADD CONSTRAINT followed_source_fkey FOREIGN KEY (source) REFERENCES switchback.source(name) ON DELETE CASCADE;
ALTER TABLE ONLY switchback.quarantine
    ADD CONSTRAINT quarantine_source_table_name_fkey FOREIGN KEY (source, table_name) REFERENCES switchback.followed(source, name) ON DELETE CASCADE;
ALTER TABLE ONLY switchback.range
    ADD CONSTRAINT range_source_table_name_fkey FOREIGN KEY (source, table_name) REFERENCES switchback.followed(source, name) ON DELETE CASCADE;
ALTER TABLE ONLY switchback.suspended
    ADD CONSTRAINT suspended_source_table_name_fkey FOREIGN KEY (source, table_name) REFERENCES switchback.followed(source, name) ON DELETE CASCADE;
ALTER TABLE ONLY switchback.unknown
    ADD CONSTRAINT unknown_source_table_name_fkey FOREIGN KEY (source, table_name) REFERENCES switchback.followed(source, name) ON DELETE CASCADE;
ALTER TABLE ONLY switchback.verification
    ADD CONSTRAINT verification_source_fkey FOREIGN KEY (source) REFERENCES switchback.source(name) ON DELETE CASCADE;
GRANT USAGE ON SCHEMA switchback TO PUBLIC;
GRANT SELECT ON TABLE switchback.route TO PUBLIC;
