-- The virtual-table modules that this connection knows: only these can tell their shadow tables apart.
SELECT name FROM pragma_module_list
