import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { randomUUID } from 'node:crypto';
import { ConfigurationError, EventStore, findDrift } from '../../src';
import { addFence, dropFence, FENCED_TABLES, fenceOf } from '../../src/fence/fence-sql';
import { type ResidueClass } from '../../src/fence/residue';
import { LARGEST_NUMBER, rangeOf, readSequenceNumbers, setSequenceRange } from '../../src/fence/sequence-range';
import { removeFence, setFence } from '../../src/fence/set-fence';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

const CLASS: ResidueClass = { modulus: 4, remainder: 2 };
const RESTAURANT = randomUUID();

const driftOf = async (shard?: ResidueClass & { number?: number }) =>
  await findDrift(await database.dataSource(), { rolePrefix: database.name, shard });

const isFence = (kind: 'missing' | 'different' | 'unexpected', table: (typeof FENCED_TABLES)[number]) =>
  expect.objectContaining({
    kind,
    object: `table ${table}: constraint ${fenceOf(table)}`,
    remedy: expect.stringContaining('shard fence') as string,
  }) as unknown;

describe('a fence', () => {
  beforeEach(async () => void (await setFence(await database.dataSource(), CLASS)));
  afterEach(async () => void (await removeFence(await database.dataSource())));

  test('that is whole is no difference, and neither is none at all', async () => {
    expect(await driftOf()).toEqual([]);
    await removeFence(await database.dataSource());
    expect(await driftOf()).toEqual([]);
  });

  test.each(FENCED_TABLES)('that is missing at %s alone is missing', async (table) => {
    await database.query(dropFence(table));
    expect(await driftOf()).toEqual([isFence('missing', table)]);
  });

  test.each(FENCED_TABLES)('that is wider at %s than elsewhere differs', async (table) => {
    await database.query(`${dropFence(table)}; ${addFence(table, { modulus: 2, remainder: 0 })}`);
    expect(await driftOf()).toEqual([isFence('different', table)]);
  });

  test.each(FENCED_TABLES)('that was validated at %s differs', async (table) => {
    await database.query(`ALTER TABLE ${table} VALIDATE CONSTRAINT ${fenceOf(table)}`);
    expect(await driftOf()).toEqual([isFence('different', table)]);
  });

  test('that was altered everywhere is unexpected everywhere', async () => {
    for (const table of FENCED_TABLES) {
      await database.query(
        `${dropFence(table)}; ALTER TABLE ${table} ADD CONSTRAINT ${fenceOf(table)} CHECK (true) NOT VALID`,
      );
    }
    const drift = await driftOf();
    expect(drift).toHaveLength(3);
    expect(drift).toEqual(expect.arrayContaining(FENCED_TABLES.map((table) => isFence('unexpected', table))));
  });

  test('of another class than it must have differs, and so does none', async () => {
    expect(await driftOf(CLASS)).toEqual([]);
    const expectAll = async (kind: 'missing' | 'different') => {
      const drift = await driftOf({ modulus: 4, remainder: 3 });
      expect(drift).toHaveLength(3);
      expect(drift).toEqual(expect.arrayContaining(FENCED_TABLES.map((table) => isFence(kind, table))));
    };
    await expectAll('different');
    await removeFence(await database.dataSource());
    await expectAll('missing');
  });

  test('that no database can have is refused', async () => {
    await expect(driftOf({ modulus: 3, remainder: 0 })).rejects.toThrow(ConfigurationError);
    await expect(driftOf({ ...CLASS, number: 8_192 })).rejects.toThrow(ConfigurationError);
    await expect(driftOf('a' as never)).rejects.toThrow(ConfigurationError);
  });
});

describe('the numbers of a database', () => {
  const append = async () => {
    const store = new EventStore(await database.dataSource());
    const authRequestId = randomUUID();
    const event = { type: 'AuthVoidRequested', data: { authRequestId, reason: 'r', requestedAt: new Date() } } as const;
    await store.append({ authRequestId, restaurantId: RESTAURANT }, 0, [event]);
  };
  const restart = (last: bigint | number) =>
    database.query(
      `DELETE FROM outbox; SELECT setval('payment_events_id_seq', ${last}), setval('outbox_id_seq', ${last})`,
    );
  const lastIds = async () => {
    const [ids] = await database.query<{ event: string; message: string }>(
      `SELECT (SELECT last_value FROM payment_events_id_seq)::text AS event,
         (SELECT last_value FROM outbox_id_seq)::text AS message`,
    );
    return ids!;
  };
  const insertMessage = (id: bigint) =>
    database.query(
      `INSERT INTO outbox (id, aggregate_id, message_type, payload, restaurant_id)
       VALUES (${id}, gen_random_uuid(), 'auth_request_queued', '', '${RESTAURANT}')`,
    );

  test.each([0, 1, LARGEST_NUMBER])('of number %d are safe integers, and its own', async (number) => {
    const dataSource = await database.dataSource();
    await restart(1);
    await setSequenceRange(dataSource, number);
    await append();
    const { event, message } = await lastIds();
    const [first, end] = rangeOf(number);
    for (const id of [BigInt(event), BigInt(message), end - 1n]) {
      expect(Number.isSafeInteger(Number(id))).toBe(true);
      expect(id >= first && id < end).toBe(true);
    }
    expect([...(await readSequenceNumbers(dataSource)).values()]).toEqual([number, number]);
    await setFence(dataSource, { modulus: 1, remainder: 0 });
    expect(await driftOf({ modulus: 1, remainder: 0, number })).toEqual([]);
    await removeFence(dataSource);
  });

  test('go forward only: setting them again changes nothing, a smaller number is refused', async () => {
    const dataSource = await database.dataSource();
    await restart(1);
    expect(await setSequenceRange(dataSource, 2)).toBe(true);
    await append();
    const before = await lastIds();
    expect(await setSequenceRange(dataSource, 2)).toBe(false);
    await expect(setSequenceRange(dataSource, 1)).rejects.toThrow(ConfigurationError);
    await expect(setSequenceRange(dataSource, 1)).rejects.toThrow('are those of database 2 already');
    expect(await lastIds()).toEqual(before);
    for (const wrong of [-1, 8_192, 0.5, NaN]) {
      await expect(setSequenceRange(dataSource, wrong)).rejects.toThrow(ConfigurationError);
    }
  });

  test('never go back under writers that draw from them, however many set them at once: 20 rounds', async () => {
    const dataSource = await database.dataSource();
    await restart(1);
    const ids: bigint[] = [];
    let isDone = false;
    const draw = async () => {
      while (!isDone) {
        const [row] = await database.query<{ id: string }>(
          `INSERT INTO outbox (aggregate_id, message_type, payload, restaurant_id)
           VALUES (gen_random_uuid(), 'auth_request_queued', '', '${RESTAURANT}') RETURNING id::text`,
        );
        ids.push(BigInt(row!.id));
      }
    };
    const set = async () => {
      for (let number = 3; number < 23; number++) {
        await Promise.all([setSequenceRange(dataSource, number), setSequenceRange(dataSource, number)]);
      }
      isDone = true;
    };
    // An id that was given out twice would violate the primary key.
    await Promise.all([set(), draw(), draw()]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('start after those that rows of its own have, as after a restore without sequences', async () => {
    const dataSource = await database.dataSource();
    await restart(1);
    const [first] = rangeOf(30);
    await insertMessage(first + 41n);
    expect(await setSequenceRange(dataSource, 30)).toBe(true);
    expect(await lastIds()).toEqual({ event: String(first), message: String(first + 41n) });
  });

  test('are not behind where rows came from other databases, and are where their own rows are ahead', async () => {
    await restart(rangeOf(40)[0] + 1n);
    await insertMessage(rangeOf(41)[0] + 7n);
    await insertMessage(rangeOf(39)[0] + 7n);
    expect(await driftOf()).toEqual([]);
    await insertMessage(rangeOf(40)[0] + 9n);
    const [found, ...noMore] = await driftOf();
    expect(noMore).toEqual([]);
    expect(found).toMatchObject({ object: 'sequence outbox_id_seq: last value' });
    await database.query(found!.remedy!);
    expect(await driftOf()).toEqual([]);
    expect((await lastIds()).message).toBe(String(rangeOf(40)[0] + 9n));
  });

  test('of another database than the map says are a difference', async () => {
    await restart(rangeOf(50)[0]);
    const whole = { modulus: 1, remainder: 0 };
    await setFence(await database.dataSource(), whole);
    expect(await driftOf({ ...whole, number: 50 })).toEqual([]);
    expect((await driftOf({ ...whole, number: 51 })).map(({ object }) => object)).toEqual([
      'sequence outbox_id_seq: range',
      'sequence payment_events_id_seq: range',
    ]);
    await removeFence(await database.dataSource());
  });

  test('are set under requests that are accepted, and nobody is undone for it: 20 rounds', async () => {
    const dataSource = await database.dataSource();
    await restart(rangeOf(50)[0]);
    const requests = new AuthRequests(dataSource);
    let isDone = false;
    let accepted = 0;
    const accept = async () => {
      while (!isDone) {
        await requests.authorize(anAuthorizeCommand());
        accepted += 1;
      }
    };
    const set = async () => {
      for (let number = 51; number < 71; number++) expect(await setSequenceRange(dataSource, number)).toBe(true);
      isDone = true;
    };
    await Promise.all([set(), ...Array.from({ length: 6 }, accept)]).finally(() => (isDone = true));
    expect(accepted).toBeGreaterThan(0);
  });
});
