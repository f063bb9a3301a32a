-- $1 source, $2 table, $3 mapping, $4 DDL, $5 settings, $6 estimated rows, $7 made by switchback, $8 shape. Records a
-- table that is to be copied.
INSERT INTO switchback.followed (source, name, mapping, ddl, settings, estimated, state, made, shape)
VALUES ($1, $2, $3, $4, $5, $6, 'copying', $7, $8)
ON CONFLICT (source, name) DO UPDATE
  SET mapping = excluded.mapping, ddl = excluded.ddl, settings = excluded.settings, estimated = excluded.estimated,
      state = excluded.state, made = excluded.made, shape = excluded.shape;
