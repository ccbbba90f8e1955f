import { type DataSource } from 'typeorm';
import { inTime } from '../database/in-time';
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

/** How long a probe waits for the other databases once one has answered: kubelet waits for a second in all. */
export const GRACE_MS = 500;

/**
 * How many looks of a probe may be under way at a database. The network may have forgotten the connection of one, which takes as long
 * as a statement may: another one has another connection.
 */
export const MOST_LOOKS = 3;

/** One that has not ended yet. */
interface Look {
  readonly begunAt: number;
  readonly seen: Promise<ShardHealth>;
}

/** Those at each database. */
type Looks = WeakMap<DataSource, readonly Look[]>;

/**
 * Health indicators over several databases, for `@nestjs/terminus`. A database that is away stops its own restaurants alone,
 * so that it takes no pod out of service: `shards` of each answer names it.
 *
 * A probe must not wait for one that hangs: `database` and `migrations` are answered half a second after the first database has. `outbox`
 * and `holds` hear every database, or what stopped it, which takes as long as a statement may.
 *
 * @example
 * await healthCheckService.check([() => health.database('databases'), () => health.migrations('migrations')]);
 */
export class ShardsHealth {
  readonly #shards: Shards;
  /** However many probes ask a database that hangs, they do not take up its connections. */
  readonly #looks = { database: new WeakMap(), migrations: new WeakMap() };

  constructor(shards: Shards) {
    this.#shards = shards;
  }

  /** Whether any database answers: down where none does. For a readiness probe. */
  database<Key extends string>(key: Key): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, { needed: 'some', looks: this.#looks.database }, (health) => health.database('shard'));
  }

  /** Whether every database that answers has all the migrations of this version. */
  migrations<Key extends string>(key: Key): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, { needed: 'all', looks: this.#looks.migrations }, (health) => health.migrations('shard'));
  }

  /**
   * Whether every database that answers has its outbox delivered.
   *
   * @throws InvalidCommandError
   */
  outbox<Key extends string>(key: Key, options?: OutboxHealthOptions): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, { needed: 'all' }, (health) => health.outbox('shard', options));
  }

  /**
   * Whether in every database that answers holds that nobody needs go away, and none waits for a person.
   *
   * @throws InvalidCommandError
   */
  holds<Key extends string>(key: Key, options?: HoldsHealthOptions): Promise<ShardsHealthResult<Key>> {
    return this.#ask(key, { needed: 'all' }, (health) => health.holds('shard', options));
  }

  async #ask<Key extends string>(
    key: Key,
    // A probe has looks.
    { needed, looks }: { readonly needed: 'some' | 'all'; readonly looks?: Looks },
    ask: (health: PaymentEventsDbHealth) => Promise<HealthResult<'shard'>>,
  ): Promise<ShardsHealthResult<Key>> {
    const said = new Map<string, ShardHealth>();
    const silent = new Map<string, ShardHealth>();
    let answer!: () => void;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    const all = this.#shards
      .each(async ({ name, dataSource }) => {
        const look = async () => (await ask(new PaymentEventsDbHealth(dataSource))).shard;
        const seen = await (looks ? together(looks, dataSource, look) : look());
        said.set(name, seen);
        if (!isAway(seen.code)) answer();
      })
      .then(({ away }) => {
        for (const { shard, error } of away) silent.set(shard, down(error.code, error.message));
      });
    const nameLate = () => {
      const late = this.#shards.map.shards.filter(({ name }) => !said.has(name));
      for (const { name } of late) silent.set(name, down('DATABASE_TIMEOUT', 'It had not answered when others had.'));
    };
    await (looks ? Promise.race([all, answered.then(() => inTime(all, GRACE_MS, nameLate))]) : all);
    const isUp = ({ status, code }: ShardHealth) => status === 'up' || (needed === 'all' && isAway(code));
    const answers = [...said.values()];
    const status = (needed === 'some' ? answers.some(isUp) : answers.every(isUp)) ? 'up' : 'down';
    return { [key]: { status, shards: Object.fromEntries([...said, ...silent]) } } as ShardsHealthResult<Key>;
  }
}

/** What the looks that are under way see, and one more where the last began too long ago for an answer. */
async function together(looks: Looks, dataSource: DataSource, look: () => Promise<ShardHealth>): Promise<ShardHealth> {
  const running = looks.get(dataSource) ?? [];
  const now = performance.now();
  if (running.length >= MOST_LOOKS || running.some(({ begunAt }) => now - begunAt < GRACE_MS))
    return await first(running);
  const begun: Look = { begunAt: now, seen: look() };
  const all = [...running, begun];
  looks.set(dataSource, all);
  const end = () =>
    looks.set(
      dataSource,
      looks.get(dataSource)!.filter((other) => other !== begun),
    );
  begun.seen.then(end, end);
  return await first(all);
}

/** What the first sees to which the database answers; without one, the last. */
async function first(looks: readonly Look[]): Promise<ShardHealth> {
  const answers = looks.map(async ({ seen }) => {
    const health = await seen;
    if (isAway(health.code)) throw new Error('away');
    return health;
  });
  return await Promise.any(answers).catch(() => looks.at(-1)!.seen);
}

const down = (code: string, message: string) => ({ status: 'down', code, message }) as const;

/** Of a database that was open, and does not answer now. */
const isAway = (code: unknown): boolean => code === 'DATABASE_UNAVAILABLE' || code === 'DATABASE_TIMEOUT';
