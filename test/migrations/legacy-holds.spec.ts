import { revert } from '../../src/migrator/migrator';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { adopt, migrate, ReadModel } from '../../src';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase({ empty: true });

interface ExpectedHold {
  authRequestId: string;
  processorName: string;
  processorAuthId: string;
  amountCents: number;
  currency: string;
  authorizedAt: number;
  firstEventSequence: number;
  lastEventSequence: number;
  isNeeded: boolean;
  statusByEvents: string;
}

/** What the events of legacy-small.sql imply, told by neither SQL nor the fold: each hold, and those that no request needs. */
const expected = JSON.parse(readFileSync(join(__dirname, '../fixtures/legacy-small.holds.json'), 'utf8')) as {
  holds: ExpectedHold[];
  list: [string, string, string][];
};

const holds = () =>
  database.query(`
    SELECT auth_request_id AS "authRequestId", processor_name AS "processorName", processor_auth_id AS "processorAuthId",
      amount_cents::float8 AS "amountCents", currency, extract(epoch FROM authorized_at)::float8 AS "authorizedAt",
      first_event_sequence AS "firstEventSequence", last_event_sequence AS "lastEventSequence", is_needed AS "isNeeded",
      state, is_answered, config_version, hold_expires_at, ended_amount_cents, ended_by, closed_by, void_failures, sweeps
    FROM auth_holds ORDER BY 1, 2, 3`);

/** Every hold that may still stand and no request needs. */
const list = async () =>
  (
    await database.query<Record<string, string>>(`
      SELECT auth_request_id, processor_name, processor_auth_id FROM auth_holds
      WHERE NOT is_needed AND closed_by IS NULL AND state::text = ANY ('{held,voiding,void_failed,captured}'::text[])
        AND (hold_expires_at IS NULL OR hold_expires_at > now())
      ORDER BY 1, 2, 3`)
  ).map((row) => Object.values(row));

/** The same on any day: every authorization of the fixture is younger than the one, and older than the other. */
const [FOREVER, NEVER] = ['100000', '-100000'];

async function migrated(lifeDays: string): Promise<string[]> {
  await database.query(`ALTER DATABASE ${database.name} SET payment_events_db.hold_life_days = '${lifeDays}'`);
  const dataSource = await quietDataSource({ url: database.url });
  const said: string[] = [];
  try {
    await migrate(dataSource, { say: (message) => said.push(message) });
  } finally {
    await dataSource.destroy();
  }
  return said.filter((message) => message.startsWith('Holds'));
}

async function expectHolds(stateOfUnneeded: string) {
  const untold = {
    config_version: null,
    hold_expires_at: null,
    ended_amount_cents: null,
    ended_by: null,
    closed_by: null,
  };
  expect(await holds()).toEqual(
    expected.holds.map(({ statusByEvents: _, ...hold }) => ({
      ...hold,
      state: hold.isNeeded ? 'held' : stateOfUnneeded,
      is_answered: true,
      ...{ ...untold, void_failures: 0, sweeps: 0 },
    })),
  );
  expect(await list()).toEqual(expected.list);
}

test('the events tell of 64 authorizations, of which no request needs ten, and the rows of requests know 60', async () => {
  await loadAlembicDatabase(database);
  expect(expected.holds).toHaveLength(64);
  expect(expected.list).toHaveLength(10);
  const [row] = await database.query(
    `SELECT count(*)::integer AS known FROM auth_request_state WHERE processor_auth_id IS NOT NULL`,
  );
  expect(row).toEqual({ known: 60 });
});

test('from an Alembic-made database the holds and the list are what the events imply: voided where they are young', async () => {
  const dataSource = await quietDataSource({ url: database.url });
  await adopt(dataSource, { legacyTimeZone: 'UTC' });
  await dataSource.destroy();
  expect(await migrated(FOREVER)).toEqual([
    'Holds made from events: 54 that requests need, 10 to be voided, 0 older than 100000 days that a person has to see to, 0 others.',
  ]);
  await expectHolds('voiding');
  expect(await database.query(`SELECT FROM outbox WHERE created_at > now() - interval '1 hour'`)).toEqual([]);
});

test('and listed for a person where they are older than a hold lives', async () => {
  const dataSource = await quietDataSource({ url: database.url });
  await revert(dataSource, { to: 'CommentOnObjects', say: () => undefined });
  await dataSource.destroy();
  expect(await migrated(NEVER)).toEqual([
    'Holds made from events: 54 that requests need, 0 to be voided, 10 older than -100000 days that a person has to see to, 0 others.',
  ]);
  await expectHolds('held');
});

test('verify finds the three damaged requests and no hold that differs; no hold is at two requests', async () => {
  const readModel = new ReadModel(await database.dataSource());
  const found = [];
  for await (const difference of readModel.verify()) found.push(difference);
  expect(found).toHaveLength(3);
  for (const difference of found) expect(difference).not.toHaveProperty('holds');
  for await (const shared of readModel.sharedHolds()) expect(shared).toBeUndefined();
});
