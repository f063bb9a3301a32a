-- The identity of this installation. A SQLite file records the id of the database to which it belongs. One row.
CREATE TABLE switchback.pair (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id  uuid    NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO switchback.pair DEFAULT VALUES;
