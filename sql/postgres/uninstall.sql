-- The triggers that call the fence are dropped by name before this.
DROP SCHEMA IF EXISTS switchback CASCADE;
