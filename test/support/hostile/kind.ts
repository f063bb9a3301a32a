// One kind of operation of a hostile run. `plan` makes an operation from chance and from what the run knows, as data
// that a trace can hold. `perform` does it, and does nothing where what it needs is missing, as in a shortened replay.
import type { RandomSchema } from "../random-schema.js";
import type { Note } from "./settle.js";
import type { World } from "./world.js";

export interface Operation {
  readonly op: string;
  readonly [parameter: string]: unknown;
}

export interface Planned {
  readonly operation: Operation;
  /** When it was refused. */
  readonly undo?: () => void;
}

export type Pick = (n: number) => number;

export interface Kind {
  readonly name: string;
  readonly weight: number;
  /** Never in one batch with others. */
  readonly alone?: boolean;
  plan(world: World, pick: Pick, schema: RandomSchema): Planned | null;
  /** False when it was refused or could not be done. */
  perform(world: World, operation: Operation, note: Note): Promise<boolean>;
}

export const of = <T>(pick: Pick, list: readonly T[]): T => list[pick(list.length)] as T;
