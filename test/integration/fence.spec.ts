import { randomUUID } from 'node:crypto';
import { ConfigurationError, DatabaseTimeoutError } from '../../src';
import { addFence, dropFence, FENCED_TABLES, fenceOf, printedFence } from '../../src/fence/fence-sql';
import { readFence } from '../../src/fence/read-fence';
import { halvesOf, LARGEST_MODULUS, owns, type ResidueClass } from '../../src/fence/residue';
import { removeFence, setFence } from '../../src/fence/set-fence';
import { readCatalog } from '../../src/schema/catalog';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

const CLASS: ResidueClass = { modulus: 4, remainder: 2 };
const [STAYS, MOVES] = halvesOf(CLASS);

const idIn = (shard: ResidueClass): string => {
  for (;;) {
    const id = randomUUID();
    if (owns(shard, id)) return id;
  }
};

const claim = (restaurantId: string) =>
  database.query(
    `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id)
     VALUES (gen_random_uuid()::text, $1, gen_random_uuid())`,
    [restaurantId],
  );

afterEach(async () => {
  await removeFence(await database.dataSource());
});

test('a fence that was set is read, whatever its class, and again after its definition went through a dump', async () => {
  const dataSource = await database.dataSource();
  expect(await readFence(dataSource)).toBeUndefined();
  for (let modulus = 1; modulus <= LARGEST_MODULUS; modulus *= 2) {
    const shard = { modulus, remainder: modulus - 1 };
    expect(await setFence(dataSource, shard)).toBe(true);
    expect(await readFence(dataSource)).toEqual(shard);
    for (const table of FENCED_TABLES) {
      await database.query(
        `${dropFence(table)}; ALTER TABLE ${table} ADD CONSTRAINT ${fenceOf(table)} ${printedFence(shard)}`,
      );
    }
    expect(await readFence(dataSource)).toEqual(shard);
    expect(await removeFence(dataSource)).toBe(true);
    expect(await readFence(dataSource)).toBeUndefined();
  }
});

test('setting or removing it again changes nothing and waits for nobody', async () => {
  const dataSource = await database.dataSource();
  const session = await database.connect();
  await setFence(dataSource, CLASS);
  await session.query('BEGIN; LOCK TABLE payment_events IN ROW EXCLUSIVE MODE');
  expect(await setFence(dataSource, CLASS)).toBe(false);
  await session.query('COMMIT');
  await removeFence(dataSource);
  await session.query('BEGIN; LOCK TABLE payment_events IN ROW EXCLUSIVE MODE');
  expect(await removeFence(dataSource)).toBe(false);
  await session.query('COMMIT');
});

test('a fence may become narrower; wider only where that is said, and never another', async () => {
  const dataSource = await database.dataSource();
  await setFence(dataSource, CLASS);
  await setFence(dataSource, MOVES);
  await expect(setFence(dataSource, CLASS)).rejects.toThrow(ConfigurationError);
  await expect(setFence(dataSource, CLASS)).rejects.toThrow(
    'this database has class 6 of 8, and was to have 2 of 4, which are more',
  );
  await expect(setFence(dataSource, STAYS, { widen: true })).rejects.toThrow('which are other restaurants');
  expect(await readFence(dataSource)).toEqual(MOVES);
  await setFence(dataSource, CLASS, { widen: true });
  expect(await readFence(dataSource)).toEqual(CLASS);
});

test.each([
  { modulus: 3, remainder: 0 },
  { modulus: 2_048, remainder: 0 },
  { modulus: 0, remainder: 0 },
  { modulus: 2, remainder: 2 },
  { modulus: 2, remainder: -1 },
  { modulus: 1.5, remainder: 0 },
  { modulus: 2, remainder: '0; DROP TABLE outbox' as never },
])('there is no class $remainder of $modulus: it is refused before anything is written', async (shard) => {
  const dataSource = await database.dataSource();
  await expect(setFence(dataSource, shard)).rejects.toThrow(ConfigurationError);
  expect(await readFence(dataSource)).toBeUndefined();
});

test.each([
  ['is missing at a table', dropFence('payment_events'), 'payment_events has none'],
  [
    'was altered',
    `${dropFence('payment_events')}; ALTER TABLE payment_events ADD CONSTRAINT payment_events_shard CHECK (true) NOT VALID`,
    'payment_events has one that was altered',
  ],
  ['was validated', 'ALTER TABLE payment_events VALIDATE CONSTRAINT payment_events_shard', 'that was altered'],
  [
    'is wider at a table',
    `${dropFence('payment_events')}; ${addFence('payment_events', { modulus: 2, remainder: 0 })}`,
    'payment_events has 0 of 2',
  ],
])('a fence that %s is an error that names the table, and setting it makes it whole', async (_what, alter, text) => {
  const dataSource = await database.dataSource();
  await setFence(dataSource, CLASS);
  await database.query(alter);
  await expect(readFence(dataSource)).rejects.toThrow(ConfigurationError);
  await expect(readFence(dataSource)).rejects.toThrow(text);
  expect(await setFence(dataSource, CLASS)).toBe(true);
  expect(await readFence(dataSource)).toEqual(CLASS);
});

test('whatever writes a foreign restaurant is refused: INSERT, UPDATE, COPY, and what logical replication applies', async () => {
  await setFence(await database.dataSource(), STAYS);
  const [own, foreign] = [idIn(STAYS), idIn(MOVES)];
  const columns = 'idempotency_key, restaurant_id, auth_request_id';
  const rowOf = (restaurantId: string) => `gen_random_uuid()::text, '${restaurantId}', gen_random_uuid()`;
  const writes = (restaurantId: string) => [
    `INSERT INTO auth_idempotency_keys (${columns}) VALUES (${rowOf(restaurantId)})`,
    `INSERT INTO auth_idempotency_keys (${columns}) VALUES ('${randomUUID()}', '${own}', gen_random_uuid());
     UPDATE auth_idempotency_keys SET restaurant_id = '${restaurantId}' WHERE restaurant_id = '${own}'`,
    `COPY auth_idempotency_keys (${columns}) FROM PROGRAM 'echo ${randomUUID()},${restaurantId},${randomUUID()}' WITH (FORMAT csv)`,
    // As an apply worker does.
    `SET session_replication_role = replica; INSERT INTO auth_idempotency_keys (${columns}) VALUES (${rowOf(restaurantId)})`,
  ];
  for (const [index, write] of writes(foreign).entries()) {
    const session = await database.connect();
    await expect(session.query(write)).rejects.toMatchObject({ constraint: 'auth_idempotency_keys_shard' });
    await session.query(writes(own)[index]!);
    await session.end();
  }
});

test('rows of restaurants that have moved away stay, and can be deleted', async () => {
  const dataSource = await database.dataSource();
  const moved = idIn(MOVES);
  await setFence(dataSource, CLASS);
  await claim(moved);
  await setFence(dataSource, STAYS);
  const found = await database.query('SELECT FROM auth_idempotency_keys WHERE restaurant_id = $1', [moved]);
  expect(found).toHaveLength(1);
  await database.query('DELETE FROM auth_idempotency_keys WHERE restaurant_id = $1', [moved]);
});

test('while a fence is set, it is read as it was or as it will be, also by check: under 300 changes, by three readers', async () => {
  const dataSource = await database.dataSource();
  await setFence(dataSource, CLASS);
  let isDone = false;
  const read = async () => {
    while (!isDone) {
      expect([CLASS, STAYS]).toContainEqual(await readFence(dataSource));
    }
  };
  const readAll = async () => {
    while (!isDone) {
      const found = [...(await readCatalog(dataSource)).matchAll(/constraint \w+_shard (.*)$/gm)].map(
        ([, printed]) => printed,
      );
      expect([CLASS, STAYS].map((shard) => FENCED_TABLES.map(() => printedFence(shard)))).toContainEqual(found);
    }
  };
  const set = async () => {
    for (let change = 0; change < 150; change++) {
      await setFence(dataSource, STAYS);
      await setFence(dataSource, CLASS, { widen: true });
    }
  };
  await Promise.all([read(), read(), readAll(), set().finally(() => (isDone = true))]);
});

test('narrowing leaves no moment in which a restaurant of another class is taken: none of 500 tries, under writers', async () => {
  const dataSource = await database.dataSource();
  await setFence(dataSource, { modulus: 1, remainder: 0 });
  const foreign = idIn({ modulus: 2, remainder: 1 });
  const own = idIn({ modulus: LARGEST_MODULUS, remainder: 0 });
  await setFence(dataSource, { modulus: 2, remainder: 0 });
  let [isDone, refused, taken] = [false, 0, 0];
  const write = async () => {
    while (!isDone || refused < 500) {
      await claim(foreign).then(
        () => taken++,
        () => refused++,
      );
      await claim(own);
    }
  };
  const narrow = async () => {
    for (let modulus = 4; modulus <= LARGEST_MODULUS; modulus *= 2) {
      await setFence(dataSource, { modulus, remainder: 0 });
    }
    isDone = true;
  };
  await Promise.all([write(), write(), write(), narrow()]);
  expect(taken).toBe(0);
});

test('once it is set, no transaction that was open before commits a restaurant of another class', async () => {
  const dataSource = await database.dataSource();
  const foreign = idIn(MOVES);
  const session = await database.connect();
  const append = `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
    VALUES (gen_random_uuid(), 'auth_request', 'AuthRequestCreated', '', 1, '${foreign}')`;
  const count = async () =>
    (await database.query<{ n: number }>(`SELECT count(*)::int AS n FROM payment_events`))[0]!.n;
  // One that has written: the fence waits for it. One that has only read: its first write is refused.
  await session.query('BEGIN');
  await session.query(append);
  const reader = await database.connect();
  await reader.query('BEGIN; SELECT FROM auth_request_state');
  const set = setFence(dataSource, STAYS);
  await expect(Promise.race([set, session.query('SELECT pg_sleep(0.3)').then(() => 'waits')])).resolves.toBe('waits');
  await session.query('COMMIT');
  await set;
  const before = await count();
  await expect(reader.query(append)).rejects.toMatchObject({ constraint: 'payment_events_shard' });
  await reader.query('ROLLBACK');
  expect(await count()).toBe(before);
});

test('where a writer keeps a table, it gives up with a time-out, and has changed no table', async () => {
  const dataSource = await quietDataSource({ url: database.url, migrationLockBudgetMs: 1 });
  const session = await database.connect();
  await session.query('BEGIN; LOCK TABLE restaurant_payment_configs IN ROW EXCLUSIVE MODE');
  await expect(setFence(dataSource, CLASS)).rejects.toThrow(DatabaseTimeoutError);
  await session.query('COMMIT');
  expect(await readFence(dataSource)).toBeUndefined();
  await dataSource.destroy();
});

test('of two that set halves of a class at once, one wins and the other is told: 20 rounds', async () => {
  const one = await quietDataSource({ url: database.url });
  for (let round = 0; round < 20; round++) {
    await setFence(one, CLASS);
    const results = await Promise.allSettled([setFence(one, STAYS), setFence(one, MOVES)]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const winner = results[0].status === 'fulfilled' ? STAYS : MOVES;
    expect(await readFence(one)).toEqual(winner);
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: expect.any(ConfigurationError) as Error,
    });
    await removeFence(one);
  }
  await one.destroy();
});
