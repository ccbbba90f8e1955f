import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';
import {
  AuthRequests,
  Outbox,
  OutboxRelay,
  PaymentEventsDbError,
  ProcessingLocks,
  WrongShardError,
} from '../../../src';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { type AuthorizeCommand } from '../../../src/auth-requests/authorize';
import { type RelayMessage } from '../../../src/outbox/publisher';
import { entryOf, type ShardMap } from '../../../src/shards/shard-map';
import { RecordingPublisher } from '../../../src/testing/recording-publisher';
import { anAuthorization, anAuthorizeCommand } from '../requests/auth-requests';
import { within } from '../processes/within';

/** A request as its client saw it. */
export interface SeenRequest {
  readonly command: AuthorizeCommand;
  authRequestId?: string;
  /** It was authorized, and then voided, as far as that was confirmed. */
  isAuthorized?: boolean;
  isVoided?: boolean;
}

/**
 * Services with a map: clients that take requests through their lives, and relays. Who is refused for an old map looks at
 * the one in force and does it again, as `Shards.run` does.
 */
export class SplitLoad {
  readonly requests: SeenRequest[] = [];
  readonly published: RelayMessage[] = [];
  /** A relay takes half of it a message, so that some always wait. */
  slowMs = 60;
  /** How often somebody was refused for an old map. */
  refused = 0;
  worked = 0;
  readonly #clients: Promise<void>[];
  readonly #relays: OutboxRelay[] = [];
  #stopping = false;
  #failure: Error | undefined;

  /** @param restaurants whose requests these are */
  constructor(
    public map: ShardMap,
    private readonly dataSources: Readonly<Record<string, PaymentEventsDataSource>>,
    private readonly restaurants: readonly string[],
    clients = 4,
  ) {
    this.#clients = Array.from({ length: clients }, (_, index) =>
      this.#work(index).catch((error: unknown) => {
        this.#failure ??= error as Error;
        this.#stopping = true;
      }),
    );
  }

  /** Begins to deliver the messages of a database. */
  relay(dataSource: PaymentEventsDataSource): void {
    const publisher = new RecordingPublisher();
    publisher.answer = async (message) => {
      await delay(Math.random() * this.slowMs);
      this.published.push(message);
      return { published: true };
    };
    const relay = new OutboxRelay(dataSource, publisher, { batchSize: 5, pollIntervalMs: 20 });
    relay.start();
    this.#relays.push(relay);
  }

  /** Waits until so many more requests have been worked through. */
  async progress(count: number): Promise<void> {
    const goal = this.worked + count;
    await within(
      60_000,
      `${count} more requests`,
      this.#until(() => this.worked >= goal),
    );
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.#failure) throw this.#failure;
      await delay(10);
    }
  }

  /** Ends the clients, then the relays, once they have delivered all. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#clients);
    const pending = async () => {
      for (const dataSource of Object.values(this.dataSources)) {
        if (this.#relays.length > 0 && (await new Outbox(dataSource).stats()).pending > 0) return true;
      }
      return false;
    };
    await within(
      60_000,
      'all messages',
      (async () => {
        while (await pending()) await delay(50);
      })(),
    );
    await Promise.all(this.#relays.map((relay) => relay.stop()));
    if (this.#failure) throw this.#failure;
  }

  /** Does something at the database of a restaurant, again and again until it is neither refused nor away. */
  async at<T>(restaurantId: string, work: (dataSource: PaymentEventsDataSource) => Promise<T>): Promise<T> {
    for (;;) {
      const { name } = entryOf(this.map, restaurantId);
      try {
        return await work(this.dataSources[name]!);
      } catch (error) {
        if (error instanceof WrongShardError) this.refused += 1;
        else if (!(error instanceof PaymentEventsDbError && error.retryable)) throw error;
        await delay(20);
      }
    }
  }

  async #work(client: number): Promise<void> {
    for (let turn = client; !this.#stopping; turn++) {
      const restaurantId = this.restaurants[turn % this.restaurants.length]!;
      const request: SeenRequest = { command: anAuthorizeCommand({ restaurantId }) };
      this.requests.push(request);
      await this.#live(request);
      this.worked += 1;
    }
  }

  async #live(request: SeenRequest): Promise<void> {
    const { restaurantId } = request.command;
    const { authRequestId } = await this.at(restaurantId, (at) => new AuthRequests(at).authorize(request.command));
    request.authRequestId = authRequestId;
    const ref = { restaurantId, authRequestId };
    const lease = await this.at(restaurantId, (at) =>
      new ProcessingLocks(at).acquire({ ...ref, workerId: uuidv4(), ttlMs: 60_000 }),
    );
    // Its confirmation was lost, or it was taken at the source right before the target had the request.
    if (!lease) return;
    try {
      await this.at(restaurantId, (at) => new AuthRequests(at).startAttempt(lease, { configVersion: 'v1' }));
      const authorization = anAuthorization();
      await this.at(restaurantId, (at) => new AuthRequests(at).recordAuthorized(lease, authorization));
      request.isAuthorized = true;
    } catch (error) {
      // A lease that was taken at the source when the target already followed no more is unknown there.
      if (error instanceof PaymentEventsDbError && error.code === 'LOCK_LOST') return;
      throw error;
    }
    if (Math.random() < 0.3) {
      const voiding = { ...ref, idempotencyKey: uuidv4(), reason: 'customer left' };
      await this.at(restaurantId, (at) => new AuthRequests(at).requestVoid(voiding));
      request.isVoided = true;
    }
    await this.at(restaurantId, (at) => new ProcessingLocks(at).release(lease));
  }
}
