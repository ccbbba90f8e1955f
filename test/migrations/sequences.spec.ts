import { randomUUID } from 'node:crypto';
import { findDrift } from '../../src';
import { checkCommand } from '../../src/cli/commands/check';
import { findStaleSequences } from '../../src/check/sequences';
import { cliHere } from '../support/processes/cli';
import { LATEST_LEVEL } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const stale = async () => await findDrift(await database.dataSource(), { rolePrefix: database.name });
const behind = (name: string, greatest: number, last: number) => ({
  object: `sequence ${name}: last value`,
  expected: `last value ${greatest} or more, which rows have already`,
  actual: `last value ${last}`,
});

const RESTAURANT = randomUUID();

/** Rows with numbers of their own, as replication and a restore bring them; and a sequence that is not used yet. */
const ROWS: Record<string, [rows: string, ...found: ReturnType<typeof behind>[]]> = {
  'of events': [
    `INSERT INTO payment_events (id, aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
     SELECT id, gen_random_uuid(), 'auth_request', 'AuthRequestCreated', '', 1, '${RESTAURANT}' FROM generate_series(40, 42) AS id`,
    behind('payment_events_id_seq', 42, 1),
  ],
  'of messages': [
    `INSERT INTO outbox (id, aggregate_id, message_type, payload, restaurant_id)
     VALUES (7, gen_random_uuid(), 'auth_request_queued', '', '${RESTAURANT}')`,
    behind('outbox_id_seq', 7, 1),
  ],
  'whose next number is taken': [
    `INSERT INTO outbox (id, aggregate_id, message_type, payload, restaurant_id)
     VALUES (1, gen_random_uuid(), 'auth_request_queued', '', '${RESTAURANT}')`,
    behind('outbox_id_seq', 1, 1),
  ],
  'of the history': [
    `UPDATE payment_events_db_migrations SET id = 500 WHERE id = ${LATEST_LEVEL}`,
    behind('payment_events_db_migrations_id_seq', 500, LATEST_LEVEL),
  ],
};

test('no sequence is behind in a database that was only written to', async () => {
  expect(await stale()).toEqual([]);
});

test.each(Object.entries(ROWS))('a sequence %s is named with the remedy, which works', async (_of, [rows, found]) => {
  const session = (await database.dataSource()).createQueryRunner();
  const [, sequence] = /sequence (\w+)/.exec(found!.object)!;
  const [before] = (await session.query(`SELECT last_value, is_called FROM ${sequence}`)) as Record<string, unknown>[];
  await session.startTransaction();
  try {
    await session.query(rows);
    const [one, ...noMore] = await findStaleSequences(session);
    expect(one).toEqual({ kind: 'different', ...found, remedy: expect.stringMatching(/^SELECT setval\(/) as string });
    expect(noMore).toEqual([]);
    await session.query(one!.remedy!);
    expect(await findStaleSequences(session)).toEqual([]);
  } finally {
    await session.rollbackTransaction();
    // What setval does is not rolled back.
    await session.query(`SELECT setval('${sequence}', $1, $2)`, [before!.last_value, before!.is_called]);
    await session.release();
  }
});

test('writers give no false alarm', async () => {
  const append = `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number,
    restaurant_id) VALUES (gen_random_uuid(), 'auth_request', 'AuthRequestCreated', '', 1, '${RESTAURANT}')`;
  let done = false;
  const write = async () => {
    while (!done) await database.query(append);
  };
  const looked = (async () => {
    try {
      for (let round = 0; round < 50; round++) expect(await stale()).toEqual([]);
    } finally {
      done = true;
    }
  })();
  await Promise.all([looked, write(), write(), write()]);
});

test('fencing tokens are no numbers of rows: who draws them at random leaves the sequence behind', async () => {
  await database.query(`INSERT INTO auth_processing_locks (auth_request_id, restaurant_id, worker_id, fencing_token)
    VALUES (gen_random_uuid(), '${RESTAURANT}', 'worker', 4550887915000266177)`);
  expect(await stale()).toEqual([]);
});

test('a role that may read the history alone is told of no sequence, and of no error', async () => {
  const role = `reader_of_${database.name}`;
  const session = await database.connect();
  await database.query(`CREATE ROLE ${role}; GRANT SELECT ON payment_events_db_migrations TO ${role}`);
  await database.query(`SELECT setval('payment_events_id_seq', 1, false)`);
  try {
    await session.query(`SET ROLE ${role}`);
    const asReader = {
      query: async (sql: string, values?: unknown[]) =>
        (await session.query<Record<string, unknown>>(sql, values)).rows,
    };
    expect(await findStaleSequences(asReader)).toEqual([]);
    expect(await stale()).toHaveLength(1);
  } finally {
    await session.end();
    await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
});

test('check ends with 1 and prints what to run', async () => {
  const { stdout, exitCode } = await cliHere(database.url, checkCommand(), ['--role-prefix', database.name]);
  const remedy =
    "SELECT setval('public.payment_events_id_seq', (SELECT max(id) FROM public.payment_events WHERE id < 1099511627776))";
  expect(stdout).toContain(`different: sequence payment_events_id_seq: last value\n`);
  expect(stdout).toContain(`    → ${remedy}\n`);
  expect(exitCode).toBe(1);
  await database.query(remedy);
  expect(await cliHere(database.url, checkCommand(), ['--role-prefix', database.name])).toMatchObject({ exitCode: 0 });
});
