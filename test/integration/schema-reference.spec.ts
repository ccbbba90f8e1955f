import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isColumn, readSchema, type SchemaObject } from '../../scripts/support/read-schema';
import { typeOf } from '../../scripts/support/schema-diagram';
import { schemaPage } from '../../scripts/support/schema-page';
import { RELATIONS } from '../../scripts/support/schema-relations';
import { COMMENTS } from '../../src/schema/comments';
import { OBJECTS } from '../../src/schema/objects';
import { Checkout } from '../support/processes/checkout';
import { useTestDatabase } from '../support/database/use-test-database';

// Starts three servers in the checkout, one after the other.
jest.setTimeout(240_000);

const PAGE = 'docs/reference/schema.md';
const database = useTestDatabase();
let schema: SchemaObject[];
beforeAll(async () => {
  schema = await readSchema(database);
});

describe(PAGE, () => {
  const page = readFileSync(join(__dirname, '../..', PAGE), 'utf8');

  test('is what npm run docs:schema makes of a migrated database', () => {
    expect(page).toBe(schemaPage(schema));
  });

  test('names every object that the migrations make', () => {
    for (const { name, kind } of schema)
      expect({ kind, cell: page.includes(`\`${name}\``) || page.includes(`## ${name}\n`) }).toEqual({
        kind,
        cell: true,
      });
  });

  test('draws every table, and only relations whose columns are there and have the same type at both ends', () => {
    const [, diagram] = /```mermaid\n([\s\S]*?)```/.exec(page)!;
    for (const table of OBJECTS.tables) expect(diagram).toContain(`\n  ${table} {\n`);
    const typesOf = (table: string, columns: readonly string[]) =>
      columns.map((name) =>
        schema
          .filter(isColumn)
          .filter((column) => column.table === table && column.name === name)
          .map(typeOf),
      );
    for (const { from, columns, to, keys } of RELATIONS) {
      expect(typesOf(from, columns)).toEqual(typesOf(to, keys));
      expect(typesOf(from, columns).flat()).toHaveLength(keys.length);
    }
  });

  test('says which foreign keys there are, and there is no other', () => {
    expect(page).toContain('There are four foreign keys: each hold names the last event about it');
    const keys = schema.filter(({ definition }) => definition.startsWith('FOREIGN KEY'));
    expect(keys.map(({ name }) => name)).toEqual([
      'restaurant_payment_configs_copy_of_fkey',
      'restaurant_payment_configs_data_key_fkey',
      'restaurant_payment_configs_processor_fkey',
      'auth_holds_last_event_fkey',
    ]);
  });

  test('promises that psql shows the same, and it does', async () => {
    const { stdout } = await promisify(execFile)('psql', [database.url, '--no-psqlrc', '-c', '\\d+ outbox']);
    expect(stdout).toContain(COMMENTS.tables.outbox.columns.payload);
  });
});

describe('npm run migration:comments', () => {
  let checkout: Checkout;
  beforeAll(async () => {
    checkout = await Checkout.create();
  });
  afterAll(() => checkout.remove());

  const { row } = COMMENTS.tables.outbox;
  const drafts = () => readdirSync(join(checkout.folder, 'src/migrations')).filter((file) => /^\d+-Reword/.test(file));

  test('has nothing to say where the migrations say all, else prints it, or writes a migration of the name', async () => {
    expect((await checkout.run('npm run migration:comments')).output).toContain('The migrations say what');

    const file = join(checkout.folder, 'src/schema/comments.ts');
    writeFileSync(file, readFileSync(file, 'utf8').replace(row, 'One message.'));
    const printed = await checkout.run('npm run --silent migration:comments');
    expect(printed).toMatchObject({ exitCode: 0 });
    const change = `const COMMENTS: CommentChanges = { outbox: { 'TABLE outbox': ['One message.', '${row}'] } };`;
    expect(
      printed.output.replace(/\s+/g, ' ').replace(/, \]/g, ']').replace(/\[ /g, '[').replace(/, \}/g, ' }'),
    ).toContain(change);

    expect(await checkout.run('npm run migration:comments -- Reword')).toMatchObject({ exitCode: 0 });
    expect(drafts()).toHaveLength(1);
    const draft = readFileSync(join(checkout.folder, 'src/migrations', drafts()[0]!), 'utf8');
    expect(draft).toMatch(/export class Reword\d{13} implements MigrationInterface/);
    expect(draft).toContain("'One message.',");
    expect(draft).toContain(' * Locks: SHARE UPDATE EXCLUSIVE');
  });
});
