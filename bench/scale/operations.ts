import { randomUUID } from 'node:crypto';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { type Publisher } from '../../src/outbox/publisher';
import { REQUEST } from '../comparisons/authorize/request';
import { fillOutbox } from '../lab/fill-outbox';
import { type ScaleDatabase } from './databases';

/** A request on its way through the operations. */
export interface Journey {
  readonly restaurantId: string;
  readonly authRequestId: string;
  readonly processorAuthId: string;
}

/** What is measured: in this order, each request goes through all of it. */
export const OPERATIONS = ['authorize', 'relay', 'cycle', 'get', 'void'] as const;
export type OperationName = (typeof OPERATIONS)[number];

export const TITLES: Readonly<Record<OperationName, string>> = {
  authorize: 'accept a request: `authorize`, alone in its statement',
  relay: 'deliver a message, 100 a turn: `OutboxRelay`',
  cycle: 'work a request off: `attempt`',
  get: 'look a request up: `get`',
  void: 'void an authorized request: `requestVoid`, `attemptVoid`',
};

/** How often a request is looked up: one look is too short to be measured. */
const LOOKS = 20;
/** Messages that are delivered beside those of the requests, for the same reason. For each request. */
const MORE_MESSAGES = 20;
const BATCH_SIZE = 100;

const noop: Publisher = { publish: (messages) => Promise.resolve(messages.map(() => ({ published: true }))) };

/** Takes the same number of requests through each operation, with so many callers at once. */
export class Operations {
  readonly #requests: AuthRequests;
  readonly #holds: Holds;
  readonly #relay: OutboxRelay;
  #journeys: Journey[] = [];

  constructor(
    private readonly database: ScaleDatabase,
    private readonly callers: number,
  ) {
    this.#requests = new AuthRequests(database.dataSource);
    this.#holds = new Holds(database.dataSource);
    this.#relay = new OutboxRelay(database.dataSource, noop, { batchSize: BATCH_SIZE });
  }

  /** What has to be there first; not measured. */
  async prepare(operation: OperationName, requests: number): Promise<void> {
    if (operation === 'authorize') {
      this.#journeys = [];
      // Those of voids of the round before.
      await this.#deliver();
    }
    if (operation === 'relay') {
      await fillOutbox(this.database.dataSource, { messages: requests * MORE_MESSAGES, processed: false });
    }
  }

  /** @returns how many operations that were */
  async run(operation: OperationName, requests: number): Promise<number> {
    const ttlMs = 60_000;
    switch (operation) {
      case 'authorize':
        return await this.#each(requests, async (number) => {
          const { restaurants } = this.database;
          const restaurantId = restaurants[number % restaurants.length]!;
          const key = { restaurantId, idempotencyKey: randomUUID() };
          const { authRequestId } = await this.#requests.authorize({ ...REQUEST, ...key });
          this.#journeys.push({ restaurantId, authRequestId, processorAuthId: `pi_${randomUUID()}` });
        });
      case 'relay':
        return await this.#deliver();
      case 'cycle':
        return await this.#eachJourney(async ({ restaurantId, authRequestId, processorAuthId }) => {
          const answer = {
            processorName: 'stripe',
            processorAuthId,
            authorizedAmountCents: 1050,
            currency: 'USD',
          } as const;
          const { outcome } = await this.#requests.attempt(
            { restaurantId, authRequestId, configVersion: 'v1', ttlMs },
            () => Promise.resolve({ outcome: 'authorized', ...answer }),
          );
          expect(outcome, 'authorized');
        });
      case 'get': {
        const looks = await this.#eachJourney(async ({ restaurantId, authRequestId }) => {
          for (let look = 0; look < LOOKS; look++) {
            expect((await this.#requests.get({ restaurantId, authRequestId }))?.status, 'AUTHORIZED');
          }
        });
        return looks * LOOKS;
      }
      case 'void':
        return await this.#eachJourney(async ({ restaurantId, authRequestId, processorAuthId }) => {
          const request = { restaurantId, authRequestId };
          await this.#requests.requestVoid({ ...request, reason: 'guest left', idempotencyKey: randomUUID() });
          const hold = { ...request, processorName: 'stripe', processorAuthId, ttlMs };
          const { outcome } = await this.#holds.attemptVoid(hold, () => Promise.resolve({ outcome: 'voided' }));
          expect(outcome, 'voided');
        });
    }
  }

  async #deliver(): Promise<number> {
    let delivered = 0;
    for (let batch = BATCH_SIZE; batch > 0; delivered += batch) batch = (await this.#relay.runOnce()).length;
    return delivered;
  }

  #eachJourney(work: (journey: Journey) => Promise<void>): Promise<number> {
    return this.#each(this.#journeys.length, (number) => work(this.#journeys[number]!));
  }

  async #each(count: number, work: (number: number) => Promise<void>): Promise<number> {
    let next = 0;
    const caller = async () => {
      while (next < count) await work(next++);
    };
    await Promise.all(Array.from({ length: this.callers }, caller));
    return count;
  }
}

function expect(actual: unknown, expected: string): void {
  if (actual !== expected) throw new Error(`an operation came to ${String(actual)} and not to ${expected}`);
}
