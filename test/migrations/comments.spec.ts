import { explanations, missingComments } from '../../scripts/support/explanations';
import { readSchema } from '../../scripts/support/read-schema';
import { findDrift } from '../../src/check/drift';
import { putComments, takeBackComments } from '../../src/migrations/helpers/comments';
import { migrate } from '../../src/migrator/migrator';
import { COMMENTS, type TableName } from '../../src/schema/comments';
import { MIGRATIONS_TABLE, OBJECTS } from '../../src/schema/objects';
import { levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { type DatabaseOfFile, useTestDatabase } from '../support/database/use-test-database';

const LEVEL = levelOf('CommentOnObjects');
/** The last one that comments on a new table. */
const TOP = levelOf('CommentOnConfigs');

/** What the database says of its objects, by the name that COMMENT ON gives them, of those that have a comment. */
async function commentsIn(database: DatabaseOfFile): Promise<Map<string, string>> {
  const schema = await readSchema(database);
  return new Map(schema.flatMap(({ object, comment }) => (comment === null ? [] : [[object, comment] as const])));
}

describe('a migrated database', () => {
  const database = useTestDatabase();

  test('has an explanation of each of its objects, and none of what it has not', async () => {
    const objects = (await readSchema(database)).map(({ object }) => object);
    expect([...explanations().keys()].toSorted()).toEqual(objects.toSorted());
    // Names of constraints and triggers are unique in a table alone.
    expect(new Set(objects).size).toBe(objects.length);
  });

  test('says what src/schema/comments.ts says: a changed text needs npm run migration:comments -- Name', async () => {
    expect(missingComments(await readSchema(database))).toEqual({});
  });

  test('says it in plain ASCII, since it may be in any encoding, and in a few lines', () => {
    const unfit = [...explanations()].filter(([, text]) => !/^[\x20-\x7e]{10,320}$/.test(text));
    expect(unfit).toEqual([]);
  });

  test('has a reason for the storage settings of each table that has some', async () => {
    const tables = (await readSchema(database)).filter(({ kind }) => kind === 'table');
    for (const { name, definition } of tables.filter((table) => table.name !== MIGRATIONS_TABLE)) {
      const { storage } = COMMENTS.tables[name as TableName];
      expect({ name, isExplained: storage !== undefined }).toEqual({ name, isExplained: definition !== '' });
    }
  });
});

describe('a database in a schema of the settings', () => {
  const database = useTestDatabase({ empty: true });

  test('has the same comments, and none in another schema', async () => {
    await database.query('CREATE SCHEMA payments; CREATE TABLE outbox (id bigint)');
    const dataSource = await quietDataSource({ url: database.url, schema: 'payments' });
    await migrate(dataSource, { say: () => undefined });
    expect(missingComments(await readSchema(dataSource))).toEqual({});
    expect(await database.query(`SELECT obj_description('public.outbox'::regclass) AS text`)).toEqual([{ text: null }]);
    await dataSource.destroy();
  });
});

describe('what the owner of a database has written', () => {
  const database = useTestDatabase();
  const chain = () => new MigrationChain(database);

  /** One of each kind. */
  const BEFORE = [
    'TABLE outbox',
    'COLUMN outbox.id',
    'CONSTRAINT outbox_pkey ON outbox',
    'INDEX idx_outbox_pending',
    'TRIGGER payment_events_no_gaps ON payment_events',
    'FUNCTION refuse_payment_events_gap()',
    'SEQUENCE outbox_id_seq',
  ];
  const AFTER = ['COLUMN outbox.payload', 'TABLE payment_events'];
  const write = (objects: string[], text: string) =>
    database.query(objects.map((object) => `COMMENT ON ${object} IS '${text}'`).join(';'));

  test('stays on the way up and down, and all else is taken back', async () => {
    await chain().downTo(LEVEL - 1);
    expect(await commentsIn(database)).toEqual(new Map());
    await write(BEFORE, 'ours');
    await chain().upTo(TOP);
    const expected = explanations();
    for (const object of BEFORE) expected.set(object, 'ours');
    expect(await commentsIn(database)).toEqual(expected);

    await write(AFTER, 'ours as well');
    await chain().downTo(LEVEL - 1);
    expect(await commentsIn(database)).toEqual(
      new Map([
        ...BEFORE.map((object) => [object, 'ours'] as const),
        ...AFTER.map((o) => [o, 'ours as well'] as const),
      ]),
    );
  });

  test('is no drift to check', async () => {
    await chain().upTo(TOP);
    await write(['TABLE auth_processing_locks'], 'ours');
    await database.query('COMMENT ON COLUMN outbox.headers IS NULL');
    expect(await findDrift(await database.dataSource(), { rolePrefix: database.name })).toEqual([]);
  });
});

describe('a text that changes later', () => {
  const database = useTestDatabase();
  const CHANGES = {
    outbox: {
      'TABLE outbox': [`It's new`, COMMENTS.tables.outbox.row],
      'COLUMN outbox.id': [null, COMMENTS.tables.outbox.columns.id!],
      'COLUMN outbox.payload': ['new', COMMENTS.tables.outbox.columns.payload!],
      'COLUMN outbox.headers': ['new', COMMENTS.tables.outbox.columns.headers!],
    },
  } as const;

  test('replaces the one before and comes back, but for what the owner has written or removed', async () => {
    await database.query(`
      COMMENT ON COLUMN outbox.payload IS 'ours'; COMMENT ON COLUMN outbox.headers IS NULL`);
    const before = await commentsIn(database);
    const session = (await database.dataSource()).createQueryRunner();
    await putComments(session, CHANGES);
    const expected = new Map(before).set('TABLE outbox', `It's new`);
    expected.delete('COLUMN outbox.id');
    expect(await commentsIn(database)).toEqual(expected);
    await takeBackComments(session, CHANGES);
    expect(await commentsIn(database)).toEqual(before);
    await session.release();
  });
});

describe('an object that is missing', () => {
  const database = useTestDatabase();
  const chain = () => new MigrationChain(database);

  test('does not stop the comments on others, nor gets another application a comment of ours', async () => {
    await chain().downTo(LEVEL - 1);
    await database.query(`
      DROP INDEX idx_payment_token; CREATE TABLE orders (id integer); CREATE INDEX idx_payment_token ON orders (id);
      DROP TRIGGER payment_events_no_gaps ON payment_events; ALTER TABLE outbox DROP COLUMN discarded_by CASCADE`);
    await chain().upTo(TOP);
    const schema = await readSchema(database);
    expect(schema.filter(({ comment }) => comment === null)).toEqual([]);
    expect(schema.map(({ object }) => object)).toContain('INDEX idx_restaurant_created');
    expect(await database.query(`SELECT obj_description('idx_payment_token'::regclass) AS text`)).toEqual([
      { text: null },
    ]);
  });
});

describe('transactions that read and write every table', () => {
  const database = useTestDatabase();

  test.each(['CommentOnConfigs', 'CommentOnHolds'])('are not waited for by %s, up or down', async (name) => {
    const chain = new MigrationChain(database);
    const level = levelOf(name);
    await chain.downTo(level);
    const tables = await database.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE oid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)`,
      [OBJECTS.tables],
    );
    const holder = await database.connect();
    await holder.query(`BEGIN; LOCK TABLE ${tables.map((table) => table.name).join(', ')} IN ROW EXCLUSIVE MODE`);
    await chain.downTo(level - 1);
    await chain.upTo(level);
    await holder.query('COMMIT');
    await holder.end();
  });
});
