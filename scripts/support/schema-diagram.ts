import { OBJECTS } from '../../src/schema/objects';
import { isColumn, type SchemaColumn, type SchemaObject } from './read-schema';
import { type Relation, RELATIONS } from './schema-relations';

/** A Mermaid entity diagram: of each table the columns of its keys and relations. Dotted: not enforced by the database. */
export function diagramOf(schema: readonly SchemaObject[]): string {
  const columns = schema.filter(isColumn);
  const entities = OBJECTS.tables.map((table) => {
    const lines = columns
      .filter((column) => column.table === table && (column.keys.length > 0 || isRelated(column)))
      .map((column) => ['   ', typeOf(column), column.name, column.keys.join(', ')].join(' ').trimEnd());
    return `  ${table} {\n${lines.join('\n')}\n  }`;
  });
  return ['erDiagram', ...RELATIONS.map((relation) => lineOf(relation, columns)), ...entities].join('\n');
}

/** A relation that is optional by its columns is so in the diagram. */
function lineOf({ from, columns: names, to, many }: Relation, columns: readonly SchemaColumn[]): string {
  const isOptional = columns.some(
    ({ table, name, isNullable }) => table === from && names.includes(name) && isNullable,
  );
  return `  ${to} ${isOptional ? '|o' : '||'}..${many === 'at most one' ? 'o|' : 'o{'} ${from} : "${names.join(', ')}"`;
}

const isRelated = ({ table, name }: SchemaColumn) =>
  RELATIONS.some(
    ({ from, columns, to, keys }) =>
      (from === table && columns.includes(name)) || (to === table && keys.includes(name)),
  );

/** Its type by the short names that PostgreSQL knows too. */
export const typeOf = ({ definition }: SchemaColumn): string =>
  definition.replace('character varying', 'varchar').replace('timestamp with time zone', 'timestamptz');
