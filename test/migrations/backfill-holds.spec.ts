import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { encodeEvent } from '../../src/event-store/event-codec';
import { type FoldedHold } from '../../src/read-model/fold-holds';
import { foldStream } from '../../src/read-model/fold-stream';
import { type EventRow } from '../../src/read-model/read-records';
import { ReadModel } from '../../src/read-model/read-model';
import { useTestDatabase } from '../support/database/use-test-database';
import { levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { anyStream, stream, type StreamEvent } from '../support/requests/hold-streams';

const database = useTestDatabase();
const LEVEL = levelOf('AddHolds');

const restaurantId = '00000000-0000-0000-0000-000000000001';

/** Puts events there, past the operations and without a row. */
async function putStream(events: readonly StreamEvent[]): Promise<string> {
  const id = randomUUID();
  await database.query(
    `INSERT INTO payment_events
       (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id, metadata)
     SELECT $1, 'auth_request', type, data, number, $2, metadata
     FROM unnest($3::text[], $4::bytea[], $5::jsonb[]) WITH ORDINALITY AS event (type, data, metadata, number)
     ORDER BY number`,
    [
      ...[id, restaurantId],
      ...[events.map(({ type }) => type), events.map((event) => Buffer.from(encodeEvent(event)))],
      events.map(({ metadata = {} }) => JSON.stringify(metadata)),
    ],
  );
  return id;
}

/** Of each request, in the order in which its events tell of them. */
async function rowsOf(ids: readonly string[]) {
  const rows = await database.query<FoldedHold & { authRequestId: string }>(
    `SELECT auth_request_id AS "authRequestId", processor_name AS "processorName", processor_auth_id AS "processorAuthId",
       amount_cents::float8 AS "amountCents", currency, config_version AS "configVersion", authorized_at AS "authorizedAt",
       hold_expires_at AS "holdExpiresAt", state, state_since AS "stateSince", is_needed AS "isNeeded",
       is_answered AS "isAnswered", ended_amount_cents::float8 AS "endedAmountCents", ended_by AS "endedBy",
       closed_by AS "closedBy", void_failures AS "voidFailures", last_void_error AS "lastVoidError",
       next_void_at AS "nextVoidAt", first_event_sequence AS "firstEventSequence", last_event_sequence AS "lastEventSequence"
     FROM auth_holds WHERE auth_request_id = ANY ($1) ORDER BY first_event_sequence`,
    [ids],
  );
  return new Map(
    ids.map((id) => [
      id,
      rows.filter(({ authRequestId }) => authRequestId === id).map(({ authRequestId: _, ...row }) => row),
    ]),
  );
}

/** As the fold of the same events has them, with the state of the undecided ones by their age. */
async function foldedOf(ids: readonly string[]) {
  const events = await database.query<EventRow & { id: string }>(
    `SELECT aggregate_id AS id, event_id AS "eventId", event_type AS "eventType", event_data AS "eventData", metadata,
       created_at AS "createdAt", sequence_number AS "sequenceNumber"
     FROM payment_events WHERE aggregate_id = ANY ($1) ORDER BY sequence_number`,
    [ids],
  );
  return new Map(
    ids.map(
      (id) =>
        [
          id,
          foldStream(
            id,
            events.filter((event) => event.id === id),
          ).holds.map(withState),
        ] as const,
    ),
  );
}

const LIFE_MS = 31 * 86_400_000;

/** No time of these streams is near the edge. */
function withState({ isUndecided, ...hold }: FoldedHold) {
  const end = hold.holdExpiresAt?.getTime() ?? hold.authorizedAt.getTime() + LIFE_MS;
  const isYoung = isUndecided && !hold.isNeeded && end > Date.now();
  return { ...hold, ...(isYoung && { state: 'voiding' }) };
}

const backfill = () =>
  new MigrationChain(database).byHand(LEVEL, (migration, queryRunner) => migration.up(queryRunner));

const allRows = async () =>
  (
    await database.query<{ row: object }>(
      `SELECT to_jsonb(hold) AS row FROM auth_holds AS hold ORDER BY to_jsonb(hold)::text`,
    )
  ).map(({ row }) => row);

test('the migration makes of any events the holds that the fold makes of them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStream, { minLength: 40, maxLength: 40 }), async (streams) => {
      const ids: string[] = [];
      for (const events of streams) ids.push(await putStream(events));
      await backfill();
      expect(await rowsOf(ids)).toEqual(await foldedOf(ids));
    }),
    { numRuns: 15, endOnFailure: true },
  );
  expect((await allRows()).length).toBeGreaterThan(300);
});

test('and verify finds none of them to differ', async () => {
  let checked = 0;
  for await (const difference of new ReadModel(await database.dataSource()).verify()) {
    checked += 1;
    expect(difference).not.toHaveProperty('holds');
  }
  expect(checked).toBe(600);
});

test('run again it makes what is missing, and changes no row that is there', async () => {
  const before = await allRows();
  await backfill();
  expect(await allRows()).toEqual(before);
  await database.query(`DELETE FROM auth_holds WHERE state = 'captured'`);
  await database.query(`UPDATE auth_holds SET sweeps = 7, swept_at = now() WHERE state = 'voided'`);
  const swept = (rows: object[]) =>
    rows.map((row) => ('sweeps' in row && row.sweeps === 7 ? { ...row, sweeps: 0, swept_at: null } : row));
  await backfill();
  expect(swept(await allRows())).toEqual(before);
  expect(await allRows()).not.toEqual(before);
});

test('down and up again make the same rows, but for how often they were swept', async () => {
  const comparable = async () => (await allRows()).map((row) => ({ ...row, sweeps: 0, swept_at: null }));
  const inOrder = (rows: object[]) => rows.map((row) => JSON.stringify(row)).sort();
  const before = inOrder(await comparable());
  const chain = new MigrationChain(database);
  await chain.downTo(LEVEL - 1);
  await chain.upTo(LEVEL);
  expect(inOrder(await comparable())).toEqual(before);
});

describe('of a hold that no request needs and no event decided', () => {
  const daysAgo = (days: number) => new Date(Math.floor(Date.now() / 1000 - days * 86_400) * 1000);
  const unneeded = (authorizedAt: Date | undefined, holdExpiresAt?: Date) => [
    stream.created(),
    stream.voided(),
    stream.answered('AUTHORIZED', { authorizedAt, holdExpiresAt }),
  ];
  const stateAfter = async (id: string) => (await rowsOf([id])).get(id)!.map(({ state }) => state);

  test.each([
    ['30 days old: it is voided', daysAgo(30), undefined, 'voiding'],
    ['32 days old: it is listed', daysAgo(32), undefined, 'held'],
    ['of no age: its event has one', undefined, undefined, 'voiding'],
    ['the processor holds it longer', daysAgo(40), daysAgo(-40), 'voiding'],
    ['the processor holds it no longer', daysAgo(1), daysAgo(0.5), 'held'],
  ])('%s', async (_, authorizedAt, expiry, state) => {
    const id = await putStream(unneeded(authorizedAt, expiry));
    await backfill();
    expect(await stateAfter(id)).toEqual([state]);
  });

  test('how long a hold lives can be told', async () => {
    const [young, old] = [await putStream(unneeded(daysAgo(6))), await putStream(unneeded(daysAgo(8)))];
    await new MigrationChain(database).byHand(LEVEL, async (migration, queryRunner) => {
      await queryRunner.query(`SET payment_events_db.hold_life_days = 7`);
      await migration.up(queryRunner);
    });
    expect([await stateAfter(young), await stateAfter(old)]).toEqual([['voiding'], ['held']]);
  });

  test('no message is written', async () => {
    expect(await database.query('SELECT FROM outbox')).toEqual([]);
  });
});

test('an event that cannot be read stops nothing, and money is held all the same where it says so', async () => {
  const id = randomUUID();
  const put = (number: number, type: string, data: Buffer, metadata = '{}') =>
    database.query(
      `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id, metadata)
       VALUES ($1, 'auth_request', $2, $3, $4, $5, $6)`,
      [id, type, data, number, restaurantId, metadata],
    );
  const junk = Buffer.from('ffffffffffffffffffff', 'hex');
  for (const [index, type] of [
    'AuthRequestCreated',
    'AuthHoldReported',
    'AuthHoldEnded',
    'AuthVoidFailed',
    'Unknown',
  ].entries()) {
    await put(index + 1, type, junk, '"x"');
  }
  // AUTHORIZED, with an amount that is a text, a time beyond any, and an id that is no UTF-8.
  const result = Buffer.from('0a02ff00' + '1a0161' + '30ffffffffffffffff7f', 'hex');
  await put(6, 'AuthResponseReceived', Buffer.concat([Buffer.from([0x10, 3, 0x1a, result.length]), result]), '[]');
  await put(
    7,
    'AuthVoidFailed',
    Buffer.from('38ffffffffffffffff7f', 'hex'),
    '{"hold_state": "void_failed", "next_void_at": "2026-02-30"}',
  );
  await backfill();
  expect((await rowsOf([id])).get(id)).toMatchObject([
    {
      firstEventSequence: 2,
      processorAuthId: '',
      amountCents: 0,
      currency: '',
      state: 'void_failed',
      voidFailures: 0,
      nextVoidAt: null,
    },
  ]);
});
