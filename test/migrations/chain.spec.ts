import { LegacyClient } from '../support/legacy/legacy-client';
import { EXPANDED_LEVEL, LATEST_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

// The whole chain four times, each step with a connection of its own.

const database = useTestDatabase({ empty: true });

/** All that is in the database but for what PostgreSQL itself put there and TypeORM's history of migrations. */
const OURS = `
  SELECT kind, name FROM (
    SELECT 'relation' AS kind, oid::regclass::text AS name, relnamespace AS namespace FROM pg_class
    UNION ALL SELECT 'function', oid::regprocedure::text, pronamespace FROM pg_proc
    UNION ALL SELECT 'type', oid::regtype::text, typnamespace FROM pg_type
    UNION ALL SELECT 'operator', oid::regoperator::text, oprnamespace FROM pg_operator
  ) AS object JOIN pg_namespace ON pg_namespace.oid = namespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND name !~ 'payment_events_db_migrations'
    AND name !~ '^"?PK_'
  ORDER BY 1, 2`;

/** The catalog has no comments. */
const COMMENTS = `
  SELECT pg_describe_object(classoid, objoid, objsubid) AS object, description FROM pg_description
  WHERE objoid >= 16384 ORDER BY 1`;

const INVALID_INDEXES = 'SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid';

test('every level has one schema, on the way up, down and up again, and legacy clients work to the end of expand', async () => {
  const chain = new MigrationChain(database);
  const schema = async () => ({ catalog: await chain.catalog(), comments: await database.query(COMMENTS) });
  const schemas = [await schema()];
  let legacyClient = new LegacyClient(await database.connect());
  for (let level = 1; level <= LATEST_LEVEL; level++) {
    await chain.upTo(level);
    schemas.push(await schema());
    expect(schemas[level]).not.toEqual(schemas[level - 1]);
    if (level <= EXPANDED_LEVEL) await legacyClient.workThroughOneRequest();
  }

  // Statements that were prepared before contract do not outlive it.
  legacyClient = new LegacyClient(await database.connect());
  for (let level = LATEST_LEVEL - 1; level >= 0; level--) {
    if (level === 0) await database.query('TRUNCATE payment_events');
    await chain.downTo(level);
    expect({ level, ...(await schema()) }).toEqual({ level, ...schemas[level] });
    expect(await database.query(INVALID_INDEXES)).toEqual([]);
    if (level <= EXPANDED_LEVEL && level > 0) await legacyClient.workThroughOneRequest();
  }
  expect(await database.query(OURS)).toEqual([]);

  for (let level = 1; level <= LATEST_LEVEL; level++) {
    await chain.upTo(level);
    expect({ level, ...(await schema()) }).toEqual({ level, ...schemas[level] });
  }
});

test('a migration leaves nothing behind in the session that ran it', async () => {
  const chain = new MigrationChain(database);
  await chain.downTo(0);
  for (let level = 1; level <= LATEST_LEVEL; level++) {
    const session = await chain.byHand(level, async (migration, queryRunner) => {
      const before: unknown = await queryRunner.query(SETTINGS);
      await migration.up(queryRunner);
      await migration.down(queryRunner);
      const after: unknown = await queryRunner.query(SETTINGS);
      return { before, after, temporary: (await queryRunner.query(TEMPORARY_OBJECTS)) as unknown };
    });
    expect(session).toEqual({ before: session.before, after: session.before, temporary: [] });
    await chain.upTo(level);
  }
});

/** Those of PL/pgSQL are there once it has been used. */
const SETTINGS = `SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'plpgsql.%' ORDER BY name`;

const TEMPORARY_OBJECTS = `
  SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
  UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema()`;
