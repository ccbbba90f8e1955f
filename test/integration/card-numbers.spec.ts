import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { type DataPoint, MeterProvider } from '@opentelemetry/sdk-metrics';
import { inspect } from 'node:util';
import { type Pool } from 'pg';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { VoidedCommand } from '../../src/auth-requests/holds/record-voided';
import { freeFieldsOf } from '../../src/card-numbers/free-fields';
import { type CardNumbers } from '../../src/card-numbers/screen';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { RedactingLogger } from '../../src/database/redacting-logger';
import { IdempotencyKeyReuseError, InvalidCommandError } from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { fingerprint } from '../../src/idempotency/fingerprint';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { aCardNumber } from '../support/requests/card-numbers';
import { BEGINNINGS, REPORTS } from '../support/requests/commands-with-free-fields';
import { inputClasses } from '../support/requests/inputs';
import { atOnce } from '../support/requests/races';

const database = useTestDatabase();
const exporter = new PrometheusExporter({ preventServerStart: true });
const logged: string[] = [];
const sources = {} as Record<CardNumbers, PaymentEventsDataSource>;

beforeAll(async () => {
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));
  const write = (line: string) => void logged.push(line);
  const logger = new RedactingLogger({ log: write, warn: write, error: write });
  for (const cardNumbers of ['report', 'mask', 'refuse'] as const) {
    // The default is `report`.
    const setting = cardNumbers === 'report' ? {} : { cardNumbers };
    const options = createDataSourceOptions({ url: database.url, logger, ...setting });
    sources[cardNumbers] = await new PaymentEventsDataSource(options).initialize();
  }
});
/** A number of its own for each test, since events stay, and what is recorded of it. */
let card: string;
let masked: string;
let tests = 0;
beforeEach(() => {
  logged.splice(0);
  card = aCardNumber(`4${String(++tests).padStart(5, '0')}`, 16);
  masked = `${card.slice(0, 6)}XXXXXX${card.slice(-4)}`;
});
afterAll(async () => {
  for (const dataSource of Object.values(sources)) await dataSource.destroy();
  await exporter.shutdown();
});

const TABLES = [
  'auth_request_state',
  'payment_events',
  'outbox',
  'auth_holds',
  'auth_idempotency_keys',
  'auth_processing_locks',
];

/** The tables that hold a text anywhere, in bytes as well. */
async function tablesWith(text: string): Promise<string[]> {
  const found = await Promise.all(
    TABLES.map(async (table) => {
      const sql = `SELECT 1 FROM ${table} AS row WHERE strpos(row::text, $1) > 0 OR strpos(row::text, $2) > 0 LIMIT 1`;
      const rows = await database.query(sql, [text, Buffer.from(text).toString('hex')]);
      return rows.length > 0 ? [table] : [];
    }),
  );
  return found.flat();
}

/** How many rows each table has. */
const rows = async () => {
  const counts = TABLES.map((table) => `(SELECT count(*) FROM ${table}) AS ${table}`);
  return await database.query(`SELECT ${counts.join(', ')}`);
};

/** What the counter has come to since it was last asked, by operation and action. */
const told = new Map<string, number>();
async function counted(): Promise<Record<string, number>> {
  const { resourceMetrics } = await exporter.collect();
  const points = resourceMetrics.scopeMetrics
    .flatMap((scope) => scope.metrics)
    .filter(({ descriptor }) => descriptor.name === 'payment_events_db.card_numbers')
    .flatMap(({ dataPoints }) => dataPoints as DataPoint<number>[]);
  const since: Record<string, number> = {};
  for (const { attributes, value } of points) {
    expect(Object.keys(attributes).toSorted()).toEqual(['payment_events_db.action', 'payment_events_db.operation']);
    const name = `${String(attributes['payment_events_db.operation'])} ${String(attributes['payment_events_db.action'])}`;
    if (value !== (told.get(name) ?? 0)) since[name] = value - (told.get(name) ?? 0);
    told.set(name, value);
  }
  return since;
}

/** A value with a card number for a field of that name. */
function withCard(property: string): unknown {
  if (property === 'payload') return Buffer.from(JSON.stringify({ note: card, deep: [{ card: Number(card) }] }));
  if (property === 'metadata') return { items: [{ note: `card ${card}` }], card: Number(card), [card]: 'key' };
  if (property === 'headers' || property === 'processorMetadata') return { note: `card ${card}`, [card]: 'key' };
  return `x ${card}`;
}

// One has no rules of its own.
const classes = [...inputClasses(), VoidedCommand];
const fieldsOf = (name: string) =>
  freeFieldsOf(Object.create(classes.find((Class) => Class.name === name)!.prototype as object) as object);

/** Each field of commands of a kind, with how it is treated. */
const each = (commands: object) =>
  Object.keys(commands).flatMap((name) => fieldsOf(name).map(([property, how]) => [name, property, how] as const));

test('every command with free fields is looked at here', () => {
  // What others extend.
  // The content of configurations: test/integration/configs/restaurant-payment-configs.spec.ts.
  const abstract =
    /^(ConfigChange|ConfigContent|TracedCommand|RecordCommand|HoldCommand|LeasedCommand|VoidWriteCommand)$/;
  const withFields = classes
    .map(({ name }) => name)
    .filter((name) => fieldsOf(name).length > 0 && !abstract.test(name));
  expect(Object.keys({ ...BEGINNINGS, ...REPORTS }).toSorted()).toEqual(withFields.toSorted());
});

describe('a command that begins something', () => {
  test.each(each(BEGINNINGS))(
    '%s, by default: what is in %s is recorded as it is, logged and counted',
    async (name, property) => {
      await counted();
      const call = await BEGINNINGS[name]!(sources.report);
      await call({ [property]: withCard(property) });
      expect(await tablesWith(card)).not.toEqual([]);
      expect(logged).toHaveLength(1);
      expect(logged[0]).toContain(`what looks like a card number is in ${property}`);
      expect(logged[0]).toContain('recorded as it is');
      expect(logged[0]).not.toContain(card);
      expect(Object.keys(await counted())).toEqual([expect.stringMatching(/^(authorize|enqueue) report$/)]);
    },
  );

  test.each(each(BEGINNINGS))(
    '%s, `mask`: of %s (%s) the number is nowhere, unless it is an id',
    async (name, property, how) => {
      await counted();
      const call = await BEGINNINGS[name]!(sources.mask);
      await call({ [property]: withCard(property) });
      const kept = how === 'kept';
      expect(await tablesWith(card)).toEqual(kept ? expect.arrayContaining(['payment_events']) : []);
      if (!kept) expect(await tablesWith(masked)).not.toEqual([]);
      expect(logged).toEqual([expect.stringMatching(kept ? /recorded as it is$/ : /masked$/)]);
      expect(logged[0]).not.toContain(card);
      expect(Object.keys(await counted())).toEqual([expect.stringMatching(kept ? / report$/ : / mask$/)]);
    },
  );

  test.each(each(BEGINNINGS))('%s, `refuse`: %s has it refused before anything is written', async (name, property) => {
    await counted();
    const call = await BEGINNINGS[name]!(sources.refuse);
    const before = await rows();
    const error: unknown = await call({ [property]: withCard(property) }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InvalidCommandError);
    expect((error as Error).message).toContain(`${name}: what looks like a card number is in ${property}`);
    for (const text of [inspect(error), JSON.stringify(error), (error as Error).stack])
      expect(text).not.toContain(card);
    expect(await rows()).toEqual(before);
    expect(logged).toEqual([]);
    expect(Object.keys(await counted())).toEqual([expect.stringMatching(/ refuse$/)]);
  });

  test('that is refused has not asked for a connection', async () => {
    const pool = (sources.refuse.driver as unknown as { master: Pool }).master;
    let acquired = 0;
    const count = () => acquired++;
    pool.on('acquire', count);
    const requests = new AuthRequests(sources.refuse);
    await expect(requests.authorize(anAuthorizeCommand({ metadata: { card: card } }))).rejects.toThrow(
      InvalidCommandError,
    );
    expect(acquired).toBe(0);
    await requests.authorize(anAuthorizeCommand({ metadata: { card: 'none' } }));
    expect(acquired).toBe(1);
    pool.off('acquire', count);
  });

  test('names the path of each, where keys that are card numbers are masked, and says how many more there are', async () => {
    const metadata = { items: [{}, {}, { note: card }], [card]: 1, many: Array.from({ length: 12 }, () => card) };
    await new AuthRequests(sources.mask).authorize(anAuthorizeCommand({ metadata }));
    expect(logged).toEqual([
      'authorize: what looks like a card number is in metadata.items[2].note, ' +
        `${Array.from({ length: 9 }, (_, index) => `metadata.many[${index}]`).join(', ')} and 4 more; masked`,
    ]);
    logged.splice(0);
    await new AuthRequests(sources.mask).authorize(anAuthorizeCommand({ metadata: { [card]: { of: card } } }));
    expect(logged[0]).toContain(`is in metadata["${masked}"], metadata["${masked}"].of; masked`);
  });

  test('is masked alike alone, together with others, and in a transaction of the caller', async () => {
    const requests = new AuthRequests(sources.mask);
    const command = () => anAuthorizeCommand({ metadata: { card: card, deep: [{ card: Number(card) }] } });
    const receipts = await atOnce(40, () => requests.authorize(command()));
    receipts.push(await sources.mask.transaction((manager) => requests.authorize(command(), manager)));
    expect(await tablesWith(card)).toEqual([]);
    for (const { authRequestId } of receipts) {
      const request = await requests.get({ restaurantId: RESTAURANT, authRequestId });
      expect(request!.metadata).toEqual({ card: masked, deep: [{ card: masked }] });
    }
  });

  test.each(['report', 'mask'] as const)(
    'is replayed to the same client, also by a process set otherwise (first: %s)',
    async (first) => {
      const command = anAuthorizeCommand({ metadata: { note: `card ${card}`, [card]: Number(card) } });
      const { authRequestId } = await new AuthRequests(sources[first]).authorize(command);
      for (const again of ['report', 'mask'] as const) {
        const receipt = await new AuthRequests(sources[again]).authorize(command);
        expect(receipt).toEqual({ authRequestId, status: 'PENDING', lastEventSequence: 1, replayed: true });
        const other = { ...command, metadata: { ...command.metadata, note: `another ${card}` } };
        await expect(new AuthRequests(sources[again]).authorize(other)).rejects.toThrow(IdempotencyKeyReuseError);
      }
    },
  );

  test('that is masked has the fingerprint of what is recorded, which tells nothing of the digits between', async () => {
    const command = anAuthorizeCommand({ metadata: { card: card } });
    await new AuthRequests(sources.mask).authorize(command);
    const [key] = await database.query<{ request_fingerprint: Buffer }>(
      'SELECT request_fingerprint FROM auth_idempotency_keys WHERE idempotency_key = $1',
      [command.idempotencyKey],
    );
    const { paymentToken, amountCents, currency } = command;
    const of = (number: string) =>
      fingerprint('authorize', RESTAURANT, paymentToken, amountCents, currency, { card: number });
    expect(key!.request_fingerprint).toEqual(of(masked));
    expect(key!.request_fingerprint).not.toEqual(of(card));
  });
});

describe('a command that reports', () => {
  test.each(each(REPORTS))(
    '%s is never refused: what is in %s (%s) is recorded masked, logged and counted',
    async (name, property, how) => {
      const call = await REPORTS[name]!(sources.refuse);
      await counted();
      logged.splice(0);
      await call({ [property]: withCard(property) });
      const kept = how === 'kept';
      if (kept) expect(await tablesWith(card)).toEqual(expect.arrayContaining(['payment_events']));
      else expect(await tablesWith(card)).toEqual([]);
      // Only a message has headers.
      if (!kept && property !== 'headers') expect(await tablesWith(masked)).not.toEqual([]);
      expect(logged).toEqual([expect.stringContaining(`is in ${property}`)]);
      expect(logged[0]).toMatch(kept ? /recorded as it is$/ : /masked$/);
      expect(logged[0]).not.toContain(card);
      expect(Object.entries(await counted())).toEqual([
        [
          expect.stringMatching(kept ? / report$/ : / mask$/),
          typeof withCard(property) === 'string' ? 1 : property === 'metadata' ? 3 : 2,
        ],
      ]);
    },
  );

  test('has its headers masked in the message that it queues', async () => {
    for (const name of [
      'FailureCommand',
      'AttemptCommand',
      'AuthorizedCommand',
      'RequeueVoidCommand',
      'VoidFailureCommand',
      'AttemptVoidCommand',
      'ReportHoldCommand',
    ]) {
      const call = await REPORTS[name]!(sources.refuse);
      await call({ headers: { [name]: card } });
      const headers = await database.query<{ value: string }>(
        `SELECT headers ->> $1 AS value FROM outbox WHERE headers ? $1`,
        [name],
      );
      expect({ name, headers: headers.map(({ value }) => value) }).toEqual({ name, headers: [masked] });
    }
  });

  test('of an attempt is masked as well, whatever the answer', async () => {
    const answers = [
      { outcome: 'denied', processorName: 'stripe', denialReason: `card ${card}`, processorMetadata: { pan: card } },
      { outcome: 'authorized', ...anAuthorization({ authorizationCode: card, processorMetadata: { pan: card } }) },
      { outcome: 'unknown', errorCode: 'E', errorMessage: `card ${card}`, retryable: true },
    ] as const;
    const requests = new AuthRequests(sources.refuse);
    for (const answer of answers) {
      const { authRequestId } = await requests.authorize(anAuthorizeCommand());
      const command = { restaurantId: RESTAURANT, authRequestId, configVersion: 'v1', ttlMs: 60_000 };
      const result = await requests.attempt(command, () => Promise.resolve(answer));
      expect(result.outcome).toBe(answer.outcome);
    }
    expect(await tablesWith(card)).toEqual([]);
    expect(await tablesWith(masked)).toEqual(['auth_request_state', 'payment_events']);
  });

  test('is known again when it is repeated', async () => {
    const { lease, requests } = await aRequest(sources.refuse, { started: true });
    const denied = { processorName: 'stripe', denialCode: card, denialReason: `card ${card}` };
    expect(await requests.recordDenied(lease, denied)).toMatchObject({ status: 'DENIED', replayed: false });
    expect(await requests.recordDenied(lease, denied)).toMatchObject({ status: 'DENIED', replayed: true });

    const failing = await aRequest(sources.refuse, { started: true });
    const failure = { errorCode: card, errorMessage: card, retryable: true, outcome: 'unknown' } as const;
    const recorded = await requests.recordFailure(failing.lease, failure);
    expect(await requests.recordFailure(failing.lease, failure)).toEqual(recorded);

    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const request = { restaurantId: RESTAURANT, authRequestId };
    const voiding = { ...request, reason: `card ${card}`, idempotencyKey: uuidv4() };
    expect(await requests.requestVoid(voiding)).toMatchObject({ replayed: false });
    expect(await requests.requestVoid(voiding)).toMatchObject({ replayed: true });
    await expect(requests.requestVoid({ ...voiding, reason: 'another' })).rejects.toThrow(IdempotencyKeyReuseError);

    const store = new EventStore(sources.refuse);
    const data = { authRequestId, reason: `card ${card}`, requestedAt: new Date() };
    const events = [{ type: 'AuthVoidRequested', data, eventId: uuidv4() }] as const;
    const appended = await store.append(request, 2, events);
    expect(await store.append(request, 2, events)).toEqual(appended);

    const sequences = await database.query<{ count: string }>(
      'SELECT count(*) FROM payment_events WHERE aggregate_id = ANY ($1) GROUP BY aggregate_id',
      [[lease.authRequestId, failing.authRequestId, authRequestId]],
    );
    expect(sequences.map(({ count }) => count).toSorted()).toEqual(['3', '3', '3']);
    expect(await tablesWith(card)).toEqual([]);
  });

  test('of a void that an earlier version has recorded unmasked is a replay', async () => {
    const requests = new AuthRequests(sources.report);
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const voiding = { restaurantId: RESTAURANT, authRequestId, reason: `card ${card}`, idempotencyKey: uuidv4() };
    await requests.requestVoid(voiding);
    await database.query('UPDATE auth_idempotency_keys SET request_fingerprint = $1 WHERE idempotency_key = $2', [
      fingerprint('void', RESTAURANT, authRequestId, voiding.reason),
      voiding.idempotencyKey,
    ]);
    expect(await requests.requestVoid(voiding)).toMatchObject({ replayed: true });
  });

  test('keeps the ids of a processor, which later calls need, and says nothing of them', async () => {
    const { lease, requests } = await aRequest(sources.refuse, { started: true });
    await requests.expire({ ...lease, reason: 'r' });
    const hold = { processorName: 'stripe', processorAuthId: aCardNumber('4', 16) };
    await requests.recordAuthorized(lease, anAuthorization(hold));
    const holds = new Holds(sources.refuse);
    expect(await holds.toVoid(lease, hold)).toMatchObject({ outcome: 'void', ...hold });
    expect(await holds.recordVoided(lease, hold)).toEqual({ state: 'voided', replayed: false });
    expect(await holds.report({ ...hold, told: 'captured', source: 's', sourceEventId: card })).toMatchObject({
      state: 'captured',
    });
    expect(logged).toEqual([]);
  });

  test('appends events with their free texts masked, and their ids and amounts as they are', async () => {
    const { authRequestId } = await new AuthRequests(sources.refuse).authorize(anAuthorizeCommand());
    const request = { restaurantId: RESTAURANT, authRequestId };
    const store = new EventStore(sources.refuse);
    const result = {
      ...{ processorAuthId: card, processorName: 'stripe', authorizedAmountCents: Number(card), currency: 'USD' },
      ...{
        authorizationCode: card,
        authorizedAt: undefined,
        denialCode: '',
        denialReason: card,
        holdExpiresAt: undefined,
      },
      processorMetadata: { [card]: card },
    };
    const data = { authRequestId, status: 'DENIED', result, receivedAt: new Date(1_775_046_645_000) } as const;
    await store.append(request, 1, [{ type: 'AuthResponseReceived', data }]);
    const [, event] = await store.readStream(request);
    expect(event!.data).toMatchObject({
      result: {
        ...{ processorAuthId: card, authorizedAmountCents: Number(card) },
        ...{ authorizationCode: masked, denialReason: masked, processorMetadata: { [masked]: masked } },
      },
    });
    expect(logged[0]).toMatch(/^append: .* is in events\[0\]\.data\.result\.denialReason/);
  });
});

test('a logger and telemetry that throw change nothing', async () => {
  const throws = () => {
    throw new Error('broken');
  };
  const spies = [
    jest.spyOn(sources.mask.logger, 'log').mockImplementation(throws),
    jest.spyOn(metrics, 'getMeter').mockImplementation(throws),
  ];
  const { replayed } = await new AuthRequests(sources.mask).authorize(anAuthorizeCommand({ metadata: { card: card } }));
  for (const spy of spies) spy.mockRestore();
  expect(replayed).toBe(false);
  expect(await tablesWith(card)).toEqual([]);
});
