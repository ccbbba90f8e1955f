import { COMMENTS, type TableName } from '../../src/schema/comments';
import { MIGRATIONS_TABLE, OBJECTS } from '../../src/schema/objects';
import { code, codeBlock, page, table } from '../docs/markdown';
import { isColumn, type SchemaObject } from './read-schema';
import { diagramOf, typeOf } from './schema-diagram';
import { RELATIONS } from './schema-relations';

/** docs/reference/schema.md, from what `readSchema` has found in a migrated database. */
export function schemaPage(schema: readonly SchemaObject[]): string {
  const tables = schema.filter(({ kind }) => kind === 'table');
  const parts = [
    INTRODUCTION,
    table(
      ['table', 'one row is'],
      tables.map(({ name, comment }) => [`[${name}](#${name})`, comment ?? '']),
    ),
    '## How the tables belong together',
    TOGETHER,
    codeBlock(diagramOf(schema), 'mermaid'),
    table(
      ['from', 'to', 'what it means'],
      RELATIONS.map(({ from, columns, to, keys, meaning }) => [
        sided(from, columns),
        sided(to as TableName, keys),
        meaning,
      ]),
    ),
    ...OBJECTS.tables.flatMap((name) => sectionOf(name, schema)),
    '## Functions',
    FUNCTIONS,
    table(['function', 'what it does'], namedRows(schema, 'function')),
    '## Sequences',
    table(['sequence', 'what it does'], namedRows(schema, 'sequence')),
    `## ${MIGRATIONS_TABLE}`,
    COMMENTS.history,
  ];
  return page(...parts);
}

function sectionOf(name: TableName, schema: readonly SchemaObject[]): string[] {
  const own = schema.filter((object) => object.table === name);
  const [{ definition: settings, comment } = unknown(name)] = own.filter(({ kind }) => kind === 'table');
  const columns = own
    .filter(isColumn)
    .map((column) => [
      code(column.name),
      code(typeOf(column)),
      column.isNullable ? 'yes' : 'no',
      column.default === null ? '' : code(column.default),
      column.comment ?? '',
    ]);
  return [
    `## ${name}`,
    comment ?? '',
    table(['column', 'type', 'null', 'default', 'what it holds'], columns),
    ...explained(own, 'constraint'),
    ...explained(own, 'index'),
    ...explained(own, 'trigger'),
    ...(settings === '' ? [] : [`Storage: ${code(settings)}. ${COMMENTS.tables[name].storage}`]),
  ];
}

function explained(objects: readonly SchemaObject[], kind: 'constraint' | 'index' | 'trigger'): string[] {
  const rows = objects
    .filter((object) => object.kind === kind)
    .map((object) => [code(object.name), code(withoutNames(object)), object.comment ?? '']);
  return rows.length === 0 ? [] : [table([kind, 'definition', 'why'], rows)];
}

/** The SQL without what the row and the section say already. */
const withoutNames = ({ name, table, definition }: SchemaObject) =>
  definition
    .replace(`CREATE TRIGGER ${name} `, '')
    .replace(`INDEX ${name} ON ${table} USING `, '')
    .replace(/^CREATE /, '');

const namedRows = (schema: readonly SchemaObject[], kind: SchemaObject['kind']) =>
  schema.filter((object) => object.kind === kind).map(({ name, comment }) => [code(name), comment ?? '']);

const sided = (table: TableName, columns: readonly string[]) =>
  `${table} ${columns.map((column) => code(column)).join(', ')}`;

function unknown(table: string): never {
  throw new Error(`The database has no table ${table}.`);
}

const INTRODUCTION = `# The schema

Made by \`npm run docs:schema\` from the catalog of a migrated database and from \`src/schema/comments.ts\`; do not edit. The database
says the same of itself: \`\\d+ outbox\` of psql, and every graphical client, shows these texts as comments.

- Every time is a \`timestamptz\`, every amount a whole number in the currency's minor unit. Legacy rows are those of the services
  before this package.
- Which role may read and write what, and what is secret: [least privilege](../how-to/least-privilege.md).
- A constraint that is \`NOT VALID\` holds for every insert, and for the next update of an old row; legacy rows may break it.
- A primary key or a unique constraint has an index of its own name, which is not listed again.
- An index on columns that an update changes makes the update dearer (it is not HOT then): what changes often is in none, unless a
  query needs it.`;

const TOGETHER = `Dotted lines are values that are the same, and no foreign keys, since the legacy services wrote in another order, an event
before its request's row. There are four foreign keys: each hold names the last event about it, a configuration its processor, its data key and
the version that it is a copy of. A statement of this package writes all rows of an operation or none, and
\`payment-events-db verify\` compares requests with their events. \`PK\` and \`UK\` are primary keys and unique constraints, also where a
column is only a part of one. Columns that are in neither, and in no relation, are left out of the drawing.`;

const FUNCTIONS = 'All are called by triggers, and run with the privileges of the role that writes the row.';
