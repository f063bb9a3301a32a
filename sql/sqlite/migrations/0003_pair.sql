-- Which PostgreSQL database this file belongs to: switchback's id there, the place (the server's system identifier
-- and the database's oid, null where the server does not tell), and its address for messages. One row.
CREATE TABLE _switchback_pair (id TEXT NOT NULL, place TEXT, address TEXT NOT NULL);
