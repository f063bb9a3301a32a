-- Which installation this is. A SQLite file records the id of the database that it belongs to. One row.
CREATE TABLE switchback.pair (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id  uuid    NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO switchback.pair DEFAULT VALUES;
