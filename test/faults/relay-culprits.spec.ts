import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { BrokerUnavailableError } from '../../src/outbox/delivery';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay, type RelayOptions } from '../../src/outbox/outbox-relay';
import { type Publisher, type PublishOutcome, type RelayMessage } from '../../src/outbox/publisher';
import { RESTAURANT } from '../support/requests/auth-requests';
import { eventually } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

jest.setTimeout(240_000);

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;
const relays: OutboxRelay[] = [];

beforeAll(async () => {
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
beforeEach(() => database.query('DELETE FROM outbox'));
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.stop();
});

const enqueue = (messageType = 'sound', aggregateId: string = uuidv4()) =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, { aggregateId, restaurantId: RESTAURANT, messageType, payload: Buffer.from('p') }),
  );
const enqueueMany = async (count: number) => {
  const ids: bigint[] = [];
  for (let index = 0; index < count; index++) ids.push(await enqueue());
  return ids;
};
const QUICK = { retryDelayMs: 1, maxRetryDelayMs: 5, maxReconnectDelayMs: 5, pollIntervalMs: 5 };
const relayOf = (publish: Publisher['publish'], options: RelayOptions = {}) => {
  const relay = new OutboxRelay(dataSource, { publish }, { ...QUICK, ...options });
  relays.push(relay);
  return relay;
};
const settled = () => eventually(async () => (await outbox.stats()).pending === 0, 60_000);
const deadLetters = async () => (await outbox.listFailed()).map(({ id }) => id);

/** Takes everything down, batch by batch, before it does what it does to some messages. */
function takingAll(spoilt: (message: RelayMessage) => boolean, spoil: (signal: AbortSignal) => Promise<never>) {
  const sent: bigint[] = [];
  let calls = 0;
  const publish: Publisher['publish'] = async (messages, signal) => {
    calls++;
    for (const message of messages) {
      if (spoilt(message)) return await spoil(signal);
      sent.push(message.id);
    }
    return messages.map(() => ({ published: true }));
  };
  return { publish, sent, calls: () => calls };
}

const THROWS = () => Promise.reject(new TypeError('a header beyond Latin-1'));
const HANGS = () => new Promise<never>(() => undefined);

describe.each([
  ['throws', THROWS, /^The publisher threw TypeError for this message alone, and answered for others\.$/],
  ['hangs', HANGS, /^The publisher did not answer for this message alone, and answered for others\.$/],
  [
    'says too late that the broker is away',
    (signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new BrokerUnavailableError('no answer'))),
      ),
    /^The publisher did not answer for this message alone/,
  ],
])('a publisher that %s for one message', (_what, spoil, reason) => {
  it.each([
    ['at the front', 0],
    ['in the middle', 30],
    ['at the end', 60],
  ])('delivers all others, and gives that one up after maxAttempts: %s of the queue', async (_where, place) => {
    const before = await enqueueMany(place);
    const culprit = await enqueue('spoilt');
    const others = [...before, ...(await enqueueMany(60 - place))];
    const { publish, sent } = takingAll(({ messageType }) => messageType === 'spoilt', spoil);
    relayOf(publish, { maxAttempts: 3, publishTimeoutMs: 100 }).start();
    expect(await settled()).toBe(true);
    expect(await deadLetters()).toEqual([culprit]);
    expect(await outbox.listFailed()).toEqual([
      expect.objectContaining({ attempts: 3, lastError: expect.stringMatching(reason) as string }),
    ]);
    expect(new Set(sent)).toEqual(new Set(others));
    // Sent before the throw and again after it: once a halving, not once a turn.
    expect(Math.max(...others.map((id) => sent.filter((one) => one === id).length))).toBeLessThanOrEqual(8);
  });

  it('finds several of them, among several publishers and relays, and keeps the order of each aggregate', async () => {
    const aggregates = Array.from({ length: 12 }, () => uuidv4());
    for (let round = 0; round < 4; round++) for (const aggregate of aggregates) await enqueue('sound', aggregate);
    const culprits = [await enqueue('spoilt'), await enqueue('spoilt'), await enqueue('spoilt')];
    await enqueueMany(20);
    const order = new Map<string, bigint[]>();
    const publish: Publisher['publish'] = async (messages, signal) => {
      if (messages.some(({ messageType }) => messageType === 'spoilt')) return await spoil(signal);
      for (const { aggregateId, id } of messages) order.set(aggregateId, [...(order.get(aggregateId) ?? []), id]);
      return messages.map(() => ({ published: true }));
    };
    for (let count = 0; count < 2; count++) relayOf(publish, { maxAttempts: 2, publishTimeoutMs: 100 }).start();
    // Others must go out meanwhile, or it might as well be an outage; no more than the relays keep up with.
    for (let stats = await outbox.stats(); stats.failed < culprits.length; stats = await outbox.stats()) {
      if (stats.pending < 20) await enqueue();
      await delay(5);
    }
    expect(await settled()).toBe(true);
    expect(await deadLetters()).toEqual(culprits);
    for (const ids of order.values()) expect(ids).toEqual(ids.toSorted((a, b) => Number(a - b)));
  });

  it('counts nothing against anything while it does so for all, whatever went out before', async () => {
    let away = false;
    const { publish, calls } = takingAll(() => away, spoil);
    await enqueueMany(20);
    const said: string[] = [];
    const hooks = {
      unavailable: () => said.push('away'),
      recovered: () => said.push('back'),
      refused: () => said.push('refused'),
    };
    const relay = relayOf(publish, { publishTimeoutMs: 20, maxAttempts: 2, hooks });
    relay.start();
    expect(await settled()).toBe(true);
    away = true;
    await enqueueMany(20);
    const callsBefore = calls();
    expect(await eventually(() => calls() > callsBefore + 60, 60_000)).toBe(true);
    await relay.stop();
    expect(
      await database.query('SELECT count(*)::integer, max(attempts) AS most FROM outbox WHERE processed_at IS NULL'),
    ).toEqual([{ count: 20, most: 0 }]);
    away = false;
    relay.start();
    expect(await settled()).toBe(true);
    expect(await eventually(() => said.length === 2)).toBe(true);
    await relay.stop();
    expect(await deadLetters()).toEqual([]);
    expect(said).toEqual(['away', 'back']);
  });

  it('counts nothing while there is no other message to tell by, and settles it as soon as there is', async () => {
    const culprit = await enqueue('spoilt');
    const { publish, sent, calls } = takingAll(({ messageType }) => messageType === 'spoilt', spoil);
    const relay = relayOf(publish, { publishTimeoutMs: 20, maxAttempts: 2 });
    relay.start();
    expect(await eventually(() => calls() > 10)).toBe(true);
    await relay.stop();
    expect(await database.query('SELECT attempts FROM outbox')).toEqual([{ attempts: 0 }]);
    relay.start();
    const ids: bigint[] = [];
    while ((await outbox.stats()).failed === 0) {
      ids.push(await enqueue());
      await delay(5);
    }
    expect(await settled()).toBe(true);
    expect(await deadLetters()).toEqual([culprit]);
    expect(new Set(sent)).toEqual(new Set(ids));
  });
});

it('an error that says the broker is away halves nothing and counts nothing, even for one message alone', async () => {
  const culprit = await enqueue('spoilt');
  await enqueueMany(3);
  const sizes = new Set<number>();
  const publish: Publisher['publish'] = (messages) => {
    sizes.add(messages.length);
    return Promise.reject(new BrokerUnavailableError('down'));
  };
  const relay = relayOf(publish, { maxAttempts: 1 });
  for (let turn = 0; turn < 20; turn++) expect(await failureOf(relay.runOnce())).toBeInstanceOf(BrokerUnavailableError);
  expect([...sizes]).toEqual([4]);
  expect(await deadLetters()).toEqual([]);
  expect(await database.query('SELECT attempts FROM outbox WHERE id = $1', [culprit])).toEqual([{ attempts: 0 }]);
});

it('a message that a publisher chokes on once is delivered, and never counted', async () => {
  await enqueueMany(10);
  let choke = 1;
  const { publish, sent } = takingAll(() => choke-- > 0, THROWS);
  relayOf(publish, { maxAttempts: 1 }).start();
  expect(await settled()).toBe(true);
  expect(await deadLetters()).toEqual([]);
  expect(new Set(sent).size).toBe(10);
});

describe('an answer that is none', () => {
  const NO_REASON = 'The publisher refused it and gave no reason.';
  const NOT_SAID = 'The publisher did not say whether it was published.';
  it.each<[string, unknown, string]>([
    ['undefined', undefined, NOT_SAID],
    ['null', null, NOT_SAID],
    ['true', true, NOT_SAID],
    ['an empty object', {}, NOT_SAID],
    ['a text for published', { published: 'false' }, NOT_SAID],
    ['a number for published', { published: 1 }, NOT_SAID],
    ['no reason', { published: false }, NO_REASON],
    ['an empty reason', { published: false, reason: '' }, NO_REASON],
    ['an error as reason', { published: false, reason: new Error('hunter2') }, NO_REASON],
    ['a number as reason', { published: false, reason: 503 }, NO_REASON],
    ['a reason with half a character', { published: false, reason: 'no \ud83d' }, 'no \ufffd'],
  ])('counts as a refusal of that message alone: %s', async (_what, answer, lastError) => {
    const [bad, good] = [await enqueue('spoilt'), await enqueue()];
    const relay = relayOf((messages) =>
      Promise.resolve(
        messages.map(({ id }) => (id === bad ? (answer as PublishOutcome) : ({ published: true } as const))),
      ),
    );
    const results = await relay.runOnce();
    expect(results.map(({ message, outcome }) => [message.id, outcome.published])).toEqual([
      [bad, false],
      [good, true],
    ]);
    expect(await database.query('SELECT attempts, last_error FROM outbox WHERE id = $1', [bad])).toEqual([
      { attempts: 1, last_error: lastError },
    ]);
  });

  it.each<[string, (outcomes: PublishOutcome[]) => unknown]>([
    ['one too few', (outcomes) => outcomes.slice(1)],
    ['one too many', (outcomes) => [{ published: true }, ...outcomes]],
    ['none', () => []],
    ['no list at all', () => undefined],
    ['an object of them', (outcomes) => ({ ...outcomes })],
  ])('is asked for again about fewer messages where there are %s, and loses nothing', async (_what, change) => {
    const spoilt = await enqueue('spoilt');
    const others = await enqueueMany(20);
    const sent: bigint[] = [];
    const publish = (messages: readonly RelayMessage[]) => {
      const outcomes = messages.map(({ id }): PublishOutcome => {
        // What the wrong list leaves out was not sent.
        if (id !== spoilt) sent.push(id);
        return id === spoilt ? { published: false, reason: 'no' } : { published: true };
      });
      const isSpoilt = messages.some(({ id }) => id === spoilt);
      return Promise.resolve((isSpoilt ? change(outcomes) : outcomes) as PublishOutcome[]);
    };
    relayOf(publish, { maxAttempts: 2 }).start();
    expect(await settled()).toBe(true);
    expect(await deadLetters()).toEqual([spoilt]);
    expect(new Set(sent)).toEqual(new Set(others));
  });

  it('is no other message’s, whatever the publisher does to the list that it is given', async () => {
    const [first, second] = [await enqueue(), await enqueue()];
    const relay = relayOf((messages) => {
      (messages as RelayMessage[]).reverse().pop();
      return Promise.resolve([{ published: true }, { published: false, reason: 'no' }]);
    });
    await relay.runOnce();
    expect(await database.query('SELECT id, processed_at IS NOT NULL AS sent FROM outbox ORDER BY id')).toEqual([
      { id: String(first), sent: true },
      { id: String(second), sent: false },
    ]);
  });

  it('comes too late to count, and harms nothing', async () => {
    const ids = await enqueueMany(3);
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', note);
    const late: (() => void)[] = [];
    let calls = 0;
    const publish: Publisher['publish'] = (messages) => {
      if (++calls > 2) return Promise.resolve(messages.map(() => ({ published: true })));
      return new Promise((resolve, reject) => {
        late.push(() => (calls === 1 ? reject(new Error('late')) : resolve(messages.map(() => ({ published: true })))));
      });
    };
    const relay = relayOf(publish, { publishTimeoutMs: 20 });
    for (let turn = 0; turn < 2; turn++) {
      expect(((await failureOf(relay.runOnce())) as Error).message).toBe('The publisher did not answer within 20 ms.');
      late.shift()!();
      await delay(1);
      expect(await outbox.stats()).toMatchObject({ pending: 3 });
    }
    relay.start();
    expect(await settled()).toBe(true);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
    expect(await deadLetters()).toEqual([]);
    expect(
      (await database.query<{ id: string }>('SELECT id FROM outbox ORDER BY id')).map(({ id }) => BigInt(id)),
    ).toEqual(ids);
  });
});

test('of what a publisher throws, nothing but its name and code is told', async () => {
  await enqueue();
  const cause = Object.assign(new Error('connect amqp://relay:hunter2@broker'), { code: 'ECONNREFUSED' });
  const thrown = new Error('amqp://relay:hunter2@broker is away', { cause });
  cause.cause = thrown;
  const error = (await failureOf(relayOf(() => Promise.reject(thrown)).runOnce())) as Error;
  const { inspect } = await import('node:util');
  const shown = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error);
  expect(shown).not.toContain('hunter2');
  expect(shown).toContain('ECONNREFUSED');
});
