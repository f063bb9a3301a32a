-- The PostgreSQL database to which this file belongs: switchback's id there, the place, and its address for messages.
-- The place is the server's system identifier and the database's oid, null where the server does not report them. One
-- row.
CREATE TABLE _switchback_pair (id TEXT NOT NULL, place TEXT, address TEXT NOT NULL);
