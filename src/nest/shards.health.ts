import { type Shards } from '../shards/shards';
import {
  type HealthResult,
  type HoldsHealthOptions,
  type OutboxHealthOptions,
  PaymentEventsDbHealth,
} from './payment-events-db.health';

/** What was seen at one database, or the `code` and the `message` of what stopped the look. */
export type ShardHealth = { readonly status: 'up' | 'down' } & Record<string, unknown>;

/** As of a {@link PaymentEventsDbHealth}, with what each database said: `shards`, by their names. */
export type ShardsHealthResult<Key extends string> = HealthResult<Key> &
  Record<Key, { readonly shards: Readonly<Record<string, ShardHealth>> }>;

/**
 * Health indicators over several databases, for `@nestjs/terminus`. A database that is away stops its own restaurants alone,
 * so that it takes no pod out of service: `shards` of each answer names it.
 *
 * @example
 * await healthCheckService.check([() => health.database('databases'), () => health.migrations('migrations')]);
 */
export class ShardsHealth {
  readonly #shards: Shards;

  constructor(shards: Shards) {
    this.#shards = shards;
  }

  /** Whether any database answers: down where none does. For a readiness probe. */
  database<Key extends string>(key: Key): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, 'some', (health) => health.database('shard'));
  }

  /** Whether every database that answers has all the migrations of this version. */
  migrations<Key extends string>(key: Key): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, 'all', (health) => health.migrations('shard'));
  }

  /**
   * Whether every database that answers has its outbox delivered.
   *
   * @throws InvalidCommandError
   */
  outbox<Key extends string>(key: Key, options?: OutboxHealthOptions): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, 'all', (health) => health.outbox('shard', options));
  }

  /**
   * Whether in every database that answers holds that nobody needs go away, and none waits for a person.
   *
   * @throws InvalidCommandError
   */
  holds<Key extends string>(key: Key, options?: HoldsHealthOptions): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, 'all', (health) => health.holds('shard', options));
  }

  async #ask<Key extends string>(
    key: Key,
    needed: 'some' | 'all',
    look: (health: PaymentEventsDbHealth) => Promise<HealthResult<'shard'>>,
  ): Promise<ShardsHealthResult<Key>> {
    const { results, away } = await this.#shards.each(({ dataSource }) => look(new PaymentEventsDbHealth(dataSource)));
    const said = results.map(({ shard, value }) => [shard, value.shard] as const);
    const missing = away.map(
      ({ shard, error: { code, message } }) => [shard, { status: 'down', code, message }] as const,
    );
    const isUp = ([, { status, code }]: (typeof said)[number]) => status === 'up' || (needed === 'all' && isAway(code));
    const status = (needed === 'some' ? said.some(isUp) : said.every(isUp)) ? 'up' : 'down';
    return { [key]: { status, shards: Object.fromEntries([...said, ...missing]) } } as ShardsHealthResult<Key>;
  }
}

/** Of a database that was open, and does not answer now. */
const isAway = (code: unknown): boolean => code === 'DATABASE_UNAVAILABLE' || code === 'DATABASE_TIMEOUT';
