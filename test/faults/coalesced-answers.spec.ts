import fc from 'fast-check';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type AuthorizeCommand } from '../../src/auth-requests/authorize';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { PaymentEventsDbError } from '../../src/errors';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { atOnce, crowdOf } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';
import { POISON, refusePoison, together } from '../support/requests/together';

const database = useTestDatabase();
let coalesced: PaymentEventsDataSource;
let single: PaymentEventsDataSource;
beforeAll(async () => {
  coalesced = await crowdOf(2, database, { coalescedStatements: 1 });
  single = await crowdOf(2, database, { coalescedStatements: 0 });
  await refusePoison(database);
});
afterAll(() => Promise.all([coalesced.destroy(), single.destroy()]));

const RESTAURANTS = 2;
const KEYS = 12;
interface Asked {
  readonly restaurant: number;
  readonly key: number;
  readonly body: 'one' | 'another' | typeof POISON;
  /** In place of that key, one that nobody else uses. */
  readonly isFresh: boolean;
}

/** What the keys have stood for before: used for a body, and expired or not. */
interface Standing {
  readonly restaurant: number;
  readonly key: number;
  readonly body: 'one' | 'another';
  readonly hasExpired: boolean;
}

const restaurant = fc.nat(RESTAURANTS - 1);
const key = fc.nat(KEYS - 1);
const aCall: fc.Arbitrary<Asked> = fc.record({
  restaurant,
  key,
  body: fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom('one', 'another') },
    { weight: 1, arbitrary: fc.constant(POISON) },
  ),
  isFresh: fc.boolean(),
});
const aStanding: fc.Arbitrary<Standing> = fc.record({
  restaurant,
  key,
  body: fc.constantFrom('one', 'another'),
  hasExpired: fc.boolean(),
});

/** Restaurants of their own, and what they have been told: in words that do not depend on ids. */
class World {
  readonly #restaurants = Array.from({ length: RESTAURANTS }, () => uuidv4());
  /** In the order in which they were first told of. */
  readonly #ids: string[] = [];
  readonly #requests: AuthRequests;
  #fresh = 0;

  constructor(dataSource: PaymentEventsDataSource) {
    this.#requests = new AuthRequests(dataSource);
  }

  get requests(): AuthRequests {
    return this.#requests;
  }

  /** Sends a call. Its answer is to be told in the order of the calls. */
  async send({ restaurant, key, body, isFresh }: Asked): Promise<() => unknown> {
    const command = this.#commandOf(restaurant, isFresh ? `fresh ${this.#fresh++}` : `key ${key}`, body);
    try {
      const { authRequestId, status, replayed } = await this.#requests.authorize(command);
      return () => ({ request: this.#labelOf(authRequestId), status, replayed });
    } catch (error) {
      if (!(error instanceof PaymentEventsDbError)) throw error;
      const { authRequestId } = error as { authRequestId?: string };
      return () => ({ code: error.code, request: authRequestId && this.#labelOf(authRequestId) });
    }
  }

  /** Leaves keys as they are after a day or an hour. */
  async prepare(standings: readonly Standing[]): Promise<void> {
    for (const { restaurant, key, body, hasExpired } of standings) {
      (await this.send({ restaurant, key, body, isFresh: false }))();
      if (!hasExpired) continue;
      await database.query(
        `UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'
         WHERE restaurant_id = $1 AND idempotency_key = $2`,
        [this.#restaurants[restaurant], `key ${key}`],
      );
    }
  }

  /** Each request with its events and messages, and each key with its request; nothing that nobody was told of. */
  async rows(): Promise<unknown> {
    const written = await database.query<{ id: string }>(
      `SELECT auth_request_id AS id FROM auth_request_state WHERE restaurant_id = ANY ($1)
       UNION SELECT aggregate_id FROM payment_events WHERE restaurant_id = ANY ($1)
       UNION SELECT aggregate_id FROM outbox WHERE restaurant_id = ANY ($1)`,
      [this.#restaurants],
    );
    expect(written.map(({ id }) => id).sort()).toEqual([...this.#ids].sort());
    const requests = await requireSound(database, this.#ids);
    const keys = await database.query<{ restaurant_id: string; key: string; id: string }>(
      `SELECT restaurant_id, idempotency_key AS key, auth_request_id AS id FROM auth_idempotency_keys
       WHERE restaurant_id = ANY ($1)`,
      [this.#restaurants],
    );
    return {
      requests: requests
        .map(({ authRequestId, status, events, messages }) => ({
          request: this.#labelOf(authRequestId),
          status,
          events: events.map(({ type, data }) => [type, (data as { paymentToken?: string }).paymentToken]),
          messages,
        }))
        .sort((a, b) => a.request - b.request),
      keys: keys
        .map(({ restaurant_id, key, id }) => `${this.#restaurants.indexOf(restaurant_id)} ${key}: ${this.#labelOf(id)}`)
        .sort(),
    };
  }

  #labelOf(id: string): number {
    const known = this.#ids.indexOf(id);
    return known === -1 ? this.#ids.push(id) - 1 : known;
  }

  #commandOf(restaurant: number, idempotencyKey: string, paymentToken: string): AuthorizeCommand {
    return anAuthorizeCommand({ restaurantId: this.#restaurants[restaurant]!, idempotencyKey, paymentToken });
  }
}

/** The same calls, each by itself and one after the other. */
async function oneByOne(standings: readonly Standing[], calls: readonly Asked[]) {
  const world = new World(single);
  await world.prepare(standings);
  const answers: unknown[] = [];
  for (const call of calls) answers.push((await world.send(call))());
  return { answers, rows: await world.rows() };
}

async function inOneStatement(standings: readonly Standing[], calls: readonly Asked[]) {
  const world = new World(coalesced);
  await world.prepare(standings);
  const answers = await together(world.requests, () => Promise.all(calls.map((call) => world.send(call))));
  return { answers: answers.map((answer) => answer()), rows: await world.rows() };
}

describe('calls that travel in one statement', () => {
  it('are answered, and leave the rows, as if each had gone alone, one after the other', async () => {
    const burst = fc.oneof(
      fc.array(aCall, { minLength: 2, maxLength: 8, size: 'max' }),
      fc.array(aCall, { minLength: 2, maxLength: 128, size: 'max' }),
    );
    const seen = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(fc.array(aStanding, { maxLength: KEYS, size: 'max' }), burst, async (standings, calls) => {
        const expected = await oneByOne(standings, calls);
        for (const answer of expected.answers as { code?: string; replayed?: boolean }[]) {
          seen.add(answer.code ?? answer.replayed);
        }
        expect(await inOneStatement(standings, calls)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
    expect(seen).toEqual(new Set([true, false, 'IDEMPOTENCY_KEY_REUSE', 'CONSTRAINT_VIOLATION']));
  });

  it.each([2, 3, 16])('a call that the database refuses is refused alone, at each place among %i', async (size) => {
    for (let place = 0; place < size; place++) {
      const calls = Array.from({ length: size }, (_, index): Asked => {
        return { restaurant: 0, key: 0, body: index === place ? POISON : 'one', isFresh: true };
      });
      const { answers } = await inOneStatement([], calls);
      const refused = answers.map((answer) => (answer as { code?: string }).code);
      expect(refused).toEqual(calls.map(({ body }) => (body === POISON ? 'CONSTRAINT_VIOLATION' : undefined)));
    }
  });

  it.each([2, 7, 64, 128])('are %i, where so many have waited', async (size) => {
    const requests = new AuthRequests(coalesced);
    const receipts = await together(requests, () => atOnce(size, () => requests.authorize(anAuthorizeCommand())));
    const statements = await database.query(
      `SELECT DISTINCT xmin::text FROM auth_request_state WHERE auth_request_id = ANY ($1)`,
      [receipts.map(({ authRequestId }) => authRequestId)],
    );
    expect(statements).toHaveLength(1);
  });
});
