import { type DataSource } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { StalePlanError } from '../../src/errors';
import { aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { Load } from '../support/requests/load';
import { quietDataSource } from '../support/database/quiet-data-source';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';
import { within } from '../support/processes/within';

const database = useTestDatabase();
let dataSource: DataSource;

beforeAll(async () => {
  dataSource = await quietDataSource({ url: database.url, poolSize: 8 });
});
afterAll(() => dataSource.destroy());

let length = 100;
/** Changes the type of a column that operations return, as a migration does that makes room in it: nothing is rewritten. */
const retype = () =>
  database.query(`ALTER TABLE auth_request_state ALTER COLUMN authorization_code TYPE varchar(${++length})`);

it('PostgreSQL refuses a statement that was prepared before one of its result columns changed', async () => {
  const client = await database.connect();
  const get = { name: 'get', text: 'SELECT authorization_code FROM auth_request_state' };
  await client.query(get);
  await retype();
  expect(await refusal(client.query(get))).toMatchObject({
    code: '0A000',
    message: 'cached plan must not change result type',
  });
});

it('an operation that is prepared already answers after a migration as if nothing had been, on every connection', async () => {
  const { requests, authRequestId } = await aRequest(dataSource);
  const get = () => requests.get({ restaurantId: RESTAURANT, authRequestId });
  const everywhere = () => Promise.all(Array.from({ length: 24 }, get));
  await everywhere();
  for (let migration = 0; migration < 3; migration++) {
    await retype();
    for (const request of await everywhere()) expect(request).toMatchObject({ authRequestId });
  }
});

it('a transaction of the caller that meets a migration is told to run again, and then goes through', async () => {
  const { authRequestId } = await aRequest(dataSource);
  const ref = { restaurantId: RESTAURANT, authRequestId };
  const single = await quietDataSource({ url: database.url, poolSize: 1 });
  try {
    const read = new AuthRequests(single);
    const transaction = () => single.transaction((manager) => read.get(ref, manager));
    await transaction();
    await retype();
    const failure = await transaction().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StalePlanError);
    expect(failure).toMatchObject({ code: 'STALE_PLAN', retryable: true });
    expect(await transaction()).toMatchObject({ authRequestId });
  } finally {
    await single.destroy();
  }
});

it('nothing fails while columns come, go and change their type under load', async () => {
  const { requests, authRequestId } = await aRequest(dataSource);
  const load = new Load(dataSource, 16);
  let reading = true;
  const readers = Array.from({ length: 4 }, async () => {
    while (reading) await requests.get({ restaurantId: RESTAURANT, authRequestId });
  });
  try {
    for (let migration = 0; migration < 20; migration++) {
      await within(20_000, 'the load', load.progress(10));
      await database.query('ALTER TABLE auth_request_state ADD COLUMN passing integer NOT NULL DEFAULT 0');
      await database.query('ALTER TABLE payment_events ADD COLUMN passing text');
      await retype();
      await database.query('ALTER TABLE auth_request_state DROP COLUMN passing');
      await database.query('ALTER TABLE payment_events DROP COLUMN passing');
    }
  } finally {
    reading = false;
    await Promise.all(readers);
    await load.stop();
  }
  expect(load.failures).toEqual([]);
  await load.expectKept((sql, params) => database.query(sql, params));
  await expectNothingHalfDone((sql, params) => database.query(sql, params), dataSource);
});
