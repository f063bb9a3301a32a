// Compares the shapes of all tables of a source with those of a fresh start, in two statements where the wanted
// shapes are on record. Also reports which columns PostgreSQL computes by itself, for comparing their values.
import type pg from "pg";
import { codecFor } from "../../codec/registry.js";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema/model.js";
import { defaultTargetName } from "../../schema/pg-names.js";
import type { FollowedTable } from "../records.js";
import { readShapes, toleratedIn, wantedShapes } from "./shape.js";
import { adoptedDifferences, differencesOf, type ShapeDifference } from "./shape-difference.js";
import { buildTargetSchema } from "./tables.js";

/** `tables` must contain all tables of the source: the names of indexes depend on each other. */
export async function compareShapes(
  client: pg.ClientBase,
  target: "create" | "adopt",
  tables: readonly Pick<FollowedTable, "mapping" | "shape">[],
): Promise<ShapeDifference[]> {
  const mappings = tables.map(({ mapping }) => mapping);
  const have = await readShapes(client, mappings);
  if (target === "adopt")
    return mappings.flatMap((mapping) => adoptedDifferences(mapping, have.get(mapping.table.name)));
  const { tables: built, oddities } = buildTargetSchema(mappings);
  const recorded = new Map(tables.map(({ mapping, shape }) => [mapping.table.name, shape] as const));
  const want = await wantedShapes(client, built, recorded);
  return built.flatMap((table) => {
    const { name } = table.mapping.table;
    const wanted = want.get(name);
    return wanted ? differencesOf(table.mapping, have.get(name), wanted, toleratedIn(table, oddities)) : [];
  });
}

/**
 * The mappings including the columns that PostgreSQL computes, as if they were written: only for reading and
 * comparing.
 */
export function withComputedColumns(mappings: readonly TableMapping[]): TableMapping[] {
  return buildTargetSchema(mappings).tables.map(({ mapping, columns }) => {
    const computed = mapping.table.columns.flatMap((column): ColumnMapping[] => {
      const target = columns.find(
        ({ name, generated }) => generated !== null && name === defaultTargetName(column.name),
      );
      if (!target || column.generated === "no" || mapping.columns.some((c) => c.column === column.name))
        return [];
      const spec = { type: target.type, affinity: column.affinity };
      const codec = codecFor(spec);
      return [
        { source: quote(column.name), column: column.name, target: target.name, spec, codec, notNull: false },
      ];
    });
    return { ...mapping, columns: [...mapping.columns, ...computed] };
  });
}
