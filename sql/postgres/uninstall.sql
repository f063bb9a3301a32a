-- Run after the triggers that call the fence were dropped by name.
DROP SCHEMA IF EXISTS switchback CASCADE;
