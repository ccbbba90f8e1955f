import { COMMENTS, type Relation as Declared, type TableName } from '../../src/schema/comments';
import { OBJECTS } from '../../src/schema/objects';

/** A relation, and the table that it starts from. */
export interface Relation extends Declared {
  readonly from: TableName;
}

/** Every relation that src/schema/comments.ts declares. */
export const RELATIONS: readonly Relation[] = OBJECTS.tables.flatMap((from) =>
  (COMMENTS.tables[from].relations ?? []).map((relation) => ({ from, ...relation })),
);
