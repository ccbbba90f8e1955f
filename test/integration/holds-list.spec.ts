import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { Holds } from '../../src/auth-requests/holds/holds';
import { type ListHoldsCommand } from '../../src/auth-requests/holds/list-holds';
import { InvalidCommandError } from '../../src/errors';
import { aHold, setUnguarded } from '../support/requests/holds';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
const HOUR_MS = 3_600_000;
let dataSource: DataSource;
let holds: Holds;

beforeAll(async () => {
  await roles.setUp();
  dataSource = await database.dataSource();
  holds = new Holds(dataSource);
});

test('of none there is nothing to say', async () => {
  expect(await holds.list()).toEqual([]);
  expect(await holds.totals()).toEqual({ totals: [], isAtLeast: false });
  expect(await holds.stats()).toEqual({
    ...{ totals: [], isAtLeast: false, oldestOpenAgeMs: null, lapsing: 0 },
    forAPerson: { void_failed: 0, captured_unneeded: 0, never_voided: 0 },
  });
});

describe('with one of each', () => {
  const other = uuidv4();
  /** The listed ones by what they are, and others that must not be listed. */
  const made: Record<string, string> = {};

  beforeAll(async () => {
    const make = async (
      name: string,
      ...[because, given]: [Parameters<typeof aHold>[1], Parameters<typeof aHold>[2]?]
    ) => void (made[name] = (await aHold(dataSource, because, given)).processorAuthId);
    await make('void failed', 'void_failed', { set: `state_since = now() - interval '5 hours'` });
    await make('captured', 'captured_unneeded', { amountCents: 700, set: `state_since = now() - interval '4 hours'` });
    await make('legacy', 'never_voided', { currency: 'EUR', set: `state_since = now() - interval '3 hours'` });
    await make('voiding', 'voiding', {
      set: `void_failures = 2, last_void_error = 'timeout', next_void_at = '2030-01-01T00:00:00Z', state_since = now() - interval '2 hours'`,
    });
    await make('lapses soon', 'needed', { set: `hold_expires_at = now() + interval '1 hour'` });
    await make('lapses later', 'needed', { set: `hold_expires_at = now() + interval '5 days'` });
    await make('lasts', 'needed', { restaurantId: other });
    // Those that ended, whose money the processor has let go, and that somebody has seen to.
    await make('voided', 'voiding', { set: `state = 'voided', ended_by = 'w1'` });
    await make('lapsed', 'needed', { set: `state = 'lapsed', ended_by = 'stripe'` });
    await make('captured as it should be', 'needed', { set: `state = 'captured', ended_by = 'stripe'` });
    await make('let go', 'needed', { set: `hold_expires_at = now() - interval '1 second'` });
    await make('let go while it was voided', 'voiding', { set: `hold_expires_at = now() - interval '1 second'` });
    await make('closed', 'captured_unneeded', { set: `closed_by = 'ada'` });
  });

  const nameOf = (id: string) => Object.entries(made).find(([, known]) => known === id)![0];
  const names = async (command?: ListHoldsCommand) =>
    (await holds.list(command)).map(({ processorAuthId }) => nameOf(processorAuthId));

  test('one query lists every hold that may still stand, each with the reason, and no other', async () => {
    const listed = await holds.list();
    expect(
      listed.map(({ processorAuthId, state, because, isForAPerson, requestStatus, says }) => [
        ...[nameOf(processorAuthId), state, because, isForAPerson, requestStatus, says],
      ]),
    ).toEqual([
      [
        'void failed',
        'void_failed',
        'void_failed',
        true,
        'VOIDED',
        'its request is VOIDED: the void failed (no_such_charge)',
      ],
      [
        ...['captured', 'captured', 'captured_unneeded', true, 'VOIDED'],
        'its request is VOIDED: captured although nobody needed it',
      ],
      [
        ...['legacy', 'held', 'never_voided', true, 'VOIDED'],
        "its request is VOIDED: nothing says that it was voided, and it is too old to be voided without a person's word",
      ],
      [
        ...['voiding', 'voiding', 'voiding', false, 'VOIDED'],
        'its request is VOIDED: being voided; 2 voids have failed (timeout), the next one is due at 2030-01-01T00:00:00.000Z',
      ],
      ['lapses soon', 'held', 'needed', false, 'AUTHORIZED', 'its request is AUTHORIZED'],
      ['lapses later', 'held', 'needed', false, 'AUTHORIZED', 'its request is AUTHORIZED'],
      ['lasts', 'held', 'needed', false, 'AUTHORIZED', 'its request is AUTHORIZED'],
    ]);
  });

  test('one whose money was taken is listed until a person has seen to it, also when the hold would have lapsed', async () => {
    const hold = await aHold(dataSource, 'captured_unneeded', {
      set: `hold_expires_at = now() - interval '1 day', state_since = now()`,
    });
    const find = async () =>
      (await holds.list({ states: ['captured'] })).filter((each) => each.processorAuthId === hold.processorAuthId);
    expect(await find()).toEqual([expect.objectContaining({ because: 'captured_unneeded', isForAPerson: true })]);
    await setUnguarded(dataSource, hold, `closed_by = 'ada'`);
    expect(await find()).toEqual([]);
  });

  test('a hold has all that is known of it', async () => {
    const [hold] = await holds.list({ states: ['captured'] });
    expect(hold).toEqual({
      authRequestId: expect.any(String) as string,
      restaurantId: expect.any(String) as string,
      ...{ processorName: 'stripe', processorAuthId: made.captured, amountCents: 700, currency: 'USD' },
      ...{ configVersion: 'v1', authorizedAt: expect.any(Date) as Date, holdExpiresAt: null },
      ...{ state: 'captured', stateSince: expect.any(Date) as Date, isNeeded: false, isAnswered: true },
      ...{ endedAmountCents: 700, endedBy: 'stripe', closedBy: null },
      ...{ voidFailures: 0, lastVoidError: null, nextVoidAt: null, sweeps: 0, sweptAt: null },
      ...{ firstEventSequence: 3, lastEventSequence: 5 },
      ...{ requestStatus: 'VOIDED', because: 'captured_unneeded', isForAPerson: true },
      says: 'its request is VOIDED: captured although nobody needed it',
      cursor: expect.stringMatching(
        `^0_\\d+_${hold!.authRequestId}_${Buffer.from('stripe').toString('hex')}_[0-9a-f]+$`,
      ) as string,
    });
  });

  test.each<[string, ListHoldsCommand, string[]]>([
    ['in some states', { states: ['void_failed', 'voiding'] }, ['void failed', 'voiding']],
    ['for a person', { forAPerson: true }, ['void failed', 'captured', 'legacy']],
    ['not for a person', { forAPerson: false }, ['voiding', 'lapses soon', 'lapses later', 'lasts']],
    ['long in their state', { olderThanMs: 3.5 * HOUR_MS }, ['void failed', 'captured']],
    ['lapsing within two hours', { lapsingWithinMs: 2 * HOUR_MS }, ['lapses soon']],
    ['lapsing within six days', { lapsingWithinMs: 144 * HOUR_MS }, ['lapses soon', 'lapses later']],
    ['of a restaurant', { restaurantId: other }, ['lasts']],
    ['held for a person', { states: ['held'], forAPerson: true }, ['legacy']],
    ['at most two', { limit: 2 }, ['void failed', 'captured']],
    ['at most five', { limit: 5 }, ['void failed', 'captured', 'legacy', 'voiding', 'lapses soon']],
  ])('those %s are listed alone', async (_which, command, expected) => {
    expect(await names(command)).toEqual(expected);
  });

  test('totals say the same of counts and money, by state, reason and currency', async () => {
    expect(await holds.totals()).toEqual({
      totals: [
        {
          state: 'captured',
          because: 'captured_unneeded',
          isForAPerson: true,
          currency: 'USD',
          count: 1,
          amountCents: 700,
        },
        { state: 'held', because: 'never_voided', isForAPerson: true, currency: 'EUR', count: 1, amountCents: 1050 },
        {
          state: 'void_failed',
          because: 'void_failed',
          isForAPerson: true,
          currency: 'USD',
          count: 1,
          amountCents: 1050,
        },
        { state: 'voiding', because: 'voiding', isForAPerson: false, currency: 'USD', count: 1, amountCents: 1050 },
        { state: 'held', because: 'needed', isForAPerson: false, currency: 'USD', count: 3, amountCents: 3150 },
      ],
      isAtLeast: false,
    });
    expect((await holds.totals({ lapsingWithinMs: 2 * HOUR_MS })).totals).toEqual([
      { state: 'held', because: 'needed', isForAPerson: false, currency: 'USD', count: 1, amountCents: 1050 },
    ]);
  });

  test('stats add the age of the oldest that should be gone, who waits for a person, and what lapses soon', async () => {
    const { oldestOpenAgeMs, forAPerson, lapsing, totals } = await holds.stats();
    expect(oldestOpenAgeMs).toBeGreaterThanOrEqual(5 * HOUR_MS);
    expect(oldestOpenAgeMs).toBeLessThan(29 * HOUR_MS);
    expect(forAPerson).toEqual({ void_failed: 1, captured_unneeded: 1, never_voided: 1 });
    expect(lapsing).toBe(1);
    expect(totals).toEqual((await holds.totals()).totals);
    expect((await holds.stats({ lapsingWithinMs: 144 * HOUR_MS })).lapsing).toBe(2);
  });

  test('the read-only role may ask all three', async () => {
    const asReader = new Holds(await roles.as('readonly'));
    expect(await asReader.list()).toEqual(await holds.list());
    expect(await asReader.totals()).toEqual(await holds.totals());
    expect((await asReader.stats()).lapsing).toBe(1);
  });

  test('what cannot be asked is refused before anything is sent', async () => {
    for (const wrong of [
      { states: ['voided'] },
      { states: 'held' },
      { states: [] },
      { limit: 0 },
      { limit: 100_001 },
      { olderThanMs: -1 },
      { lapsingWithinMs: 0.5 },
      { forAPerson: 'yes' },
      { restaurantId: 'x' },
      ...['', 'x', `0_1_${other}`, `2_1_${other}__`, `0_1_${other}_7_`, `0_1_${other}_7300_`, `0_1_${other}_zz_70`].map(
        (after) => ({ after }),
      ),
    ]) {
      await expect(holds.list(wrong as ListHoldsCommand)).rejects.toThrow(InvalidCommandError);
    }
  });
});

describe('pages', () => {
  /** Of a few requests, many of one instant, instants a microsecond apart, with names that texts of any kind could be. */
  beforeAll(async () => {
    await database.query('DELETE FROM auth_holds');
    for (const [state, isNeeded, expires] of [
      ['voiding', false, 'NULL'],
      ['held', true, `now() + interval '1 day' + n / 20 * interval '1 microsecond'`],
    ] as const) {
      await database.query(
        `INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
           authorized_at, hold_expires_at, state, state_since, is_needed, is_answered, first_event_sequence, last_event_sequence)
         SELECT (SELECT id FROM requests WHERE number = n % 3), $1, '', $2 || chr(33 + n % 90) || chr(8364 + n) || '_,', 10, 'USD',
           now(), ${expires}, $3, timestamptz '2026-03-01 12:00:00.123Z' + n / 20 * interval '1 microsecond', $4, true, 1, 1
         FROM generate_series(0, 149) AS n`.replace(
          'INSERT',
          `WITH requests AS (SELECT auth_request_id AS id, row_number() OVER () - 1 AS number FROM auth_request_state LIMIT 3) INSERT`,
        ),
        [other, state, state, isNeeded],
      );
    }
    await database.query(
      `INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
         authorized_at, state, is_needed, is_answered, first_event_sequence, last_event_sequence)
       SELECT auth_request_id, restaurant_id, 'stripe', 'lasts', 10, 'USD', now(), 'held', true, true, 1, 1
       FROM auth_request_state LIMIT 5`,
    );
  });
  const other = uuidv4();

  test.each([1, 7, 20, 150, 299, 300, 304, 305])(
    'of %i: what nobody needs, then what lapses, nothing twice, nothing left out, also of one instant; last what lasts',
    async (limit) => {
      const ordered = await database.query<{ id: string }>(
        `SELECT concat_ws(' ', auth_request_id, processor_auth_id) AS id FROM auth_holds
         WHERE NOT (is_needed AND hold_expires_at IS NULL)
         ORDER BY is_needed, CASE WHEN is_needed THEN hold_expires_at ELSE state_since END, auth_request_id, processor_name, processor_auth_id`,
      );
      expect(ordered).toHaveLength(300);
      const walked: string[] = [];
      for (let after: string | null | undefined; after !== null;) {
        const page = await holds.list({ limit, after });
        expect(page.length).toBeLessThanOrEqual(limit);
        expect(walked.length).toBeLessThanOrEqual(305);
        walked.push(...page.map(({ authRequestId, processorAuthId }) => `${authRequestId} ${processorAuthId}`));
        after = page.length < limit ? null : page.at(-1)!.cursor;
      }
      expect(walked.slice(0, 300)).toEqual(ordered.map(({ id }) => id));
      expect(new Set(walked).size).toBe(walked.length);
      expect(walked.slice(300).every((id) => id.endsWith('lasts'))).toBe(true);
      expect(walked.length).toBeGreaterThan(300);
    },
  );
});

test('pages go on after a hold that lapses as late as a time can be, and know its microsecond', async () => {
  const restaurantId = uuidv4();
  const times = [
    ...['5138-11-16 09:46:39.999999', '5138-11-16 09:46:40', '9999-12-31 00:00:00', '9999-12-31 23:59:59.998'],
    ...[
      '9999-12-31 23:59:59.998999',
      '9999-12-31 23:59:59.999',
      '9999-12-31 23:59:59.999001',
      '9999-12-31 23:59:59.999999',
    ],
  ];
  const made: string[] = [];
  for (const time of times) {
    made.push((await aHold(dataSource, 'needed', { restaurantId, set: `hold_expires_at = '${time}Z'` })).authRequestId);
  }
  const walked: string[] = [];
  for (let after: string | undefined; walked.length <= made.length;) {
    const [hold] = await holds.list({ restaurantId, limit: 1, after });
    if (!hold) break;
    walked.push(hold.authRequestId);
    after = hold.cursor!;
  }
  expect(walked).toEqual(made);
});
