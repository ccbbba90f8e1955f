import { type ExpireStaleCommand } from '../auth-requests/expire-stale';
import {
  type FindCommand,
  type FindUnsettledCommand,
  type FoundRequest,
  type UnsettledRequest,
} from '../auth-requests/find-requests';
import { sessionOf } from '../database/session';
import { type ResidueClass } from '../fence/residue';
import { type PurgeKeysOptions } from '../idempotency/idempotency-keys';
import { findByProcessorId, type ProcessorIdMatch } from '../inspection/find-by-processor-id';
import { type PurgeLocksOptions } from '../locks/processing-locks';
import { type PurgeMessagesOptions } from '../outbox/purge-processed';
import { VerificationScope } from '../read-model/verification';
import { validateOptions } from '../validation/validate-options';
import { AllHolds } from './all-holds';
import { AllOutboxes } from './all-outboxes';
import { assertHasAll } from './assert-shard';
import { type Away, type Fanned } from './fan-out';
import { flat } from './merge';
import { type MergedPage, pageOf } from './page';
import { type Place } from './place';
import { type Shard } from './shard';
import { AllVerifications } from './verify-all';

/** What several databases answered, and which were asked. */
export interface Answers<T> extends Fanned<T> {
  readonly asked: readonly (ResidueClass & { readonly name: string })[];
}

/** Asks every database: as `Shards.each`. */
export type Each = <T>(work: (shard: Shard) => Promise<T>) => Promise<Answers<T>>;

/** What all databases that answer have found, in one order. */
export interface Merged<T> {
  readonly items: readonly T[];
  /** Databases that gave no answer: what they have is missing. */
  readonly away: readonly Away[];
}

/** How many all databases that answer have deleted. */
export interface Purged {
  readonly purged: number;
  readonly away: readonly Away[];
}

/**
 * What names no restaurant, of all databases at once. One that is away is named beside what the others say: look at `away`
 * before you take an empty list for good news.
 *
 * Of a restaurant that has moved, the database that has it now alone is heard, also where the one before still has rows. By a map
 * from before the move that one is away, with a `WrongShardError`: nothing is said of the half that it has no more.
 *
 * @example
 * let after: string | undefined;
 * do {
 *   const { items, away, next } = await shards.all().listStuck({ olderThanMs: 600_000, after });
 *   console.log(items.length, away.map(({ shard }) => shard));
 *   after = next;
 * } while (after);
 */
export class AllShards {
  readonly holds: AllHolds;
  readonly outbox: AllOutboxes;
  readonly #each: Each;
  /** For what a database answers of its own restaurants alone. */
  readonly #look: Each;
  readonly #places: () => readonly Place[];

  /** Made by `Shards.all`. */
  constructor(each: Each, places: () => readonly Place[]) {
    this.#each = each;
    this.#look = (work) => each((shard) => ofAll(shard, work));
    this.#places = places;
    this.holds = new AllHolds(this.#look);
    this.outbox = new AllOutboxes(each);
  }

  /**
   * As of `AuthRequests`, at each database.
   *
   * @returns the ids of what was closed
   */
  async expireStale(command: ExpireStaleCommand): Promise<Merged<string>> {
    return flat(await this.#each(({ requests }) => requests.expireStale(command)));
  }

  /** As of `AuthRequests`: the oldest first, a page of at most `limit` of all. */
  async listStuck(command: FindCommand): Promise<MergedPage<FoundRequest>> {
    return await pageOf(this.#look, command, ({ requests }, page) => requests.listStuck({ ...command, ...page }));
  }

  /** As of `AuthRequests`: those first that can be asked about, of these the oldest, a page of at most `limit` of all. */
  async listUnsettled(command: FindUnsettledCommand): Promise<MergedPage<UnsettledRequest>> {
    return await pageOf(this.#look, command, ({ requests }, page) => requests.listUnsettled({ ...command, ...page }));
  }

  /** As {@link findByProcessorId}: at most 100 of each database, in the order of the map. */
  async findByProcessorId(processorAuthId: string): Promise<Merged<ProcessorIdMatch>> {
    return flat(await this.#look(({ dataSource }) => findByProcessorId(dataSource, processorAuthId)));
  }

  /** As of `IdempotencyKeys`. */
  async purgeKeys(options?: PurgeKeysOptions): Promise<Purged> {
    return sum(await this.#each(({ keys }) => keys.purgeExpired(options)));
  }

  /** As of `ProcessingLocks`. */
  async purgeLocks(options?: PurgeLocksOptions): Promise<Purged> {
    return sum(await this.#each(({ locks }) => locks.purgeExpired(options)));
  }

  /** As of `Outbox`. */
  async purgeMessages(options: PurgeMessagesOptions): Promise<Purged> {
    return sum(await this.#each(({ outbox }) => outbox.purgeProcessed(options)));
  }

  /**
   * As of `ReadModel`, one database after the other.
   *
   * @throws InvalidCommandError
   */
  verify(scope?: VerificationScope): AllVerifications {
    return new AllVerifications(this.#places, validateOptions({ VerificationScope }, scope));
  }
}

/** What a database answers, where it has all the restaurants that the map gives it by then. */
async function ofAll<T>(shard: Shard, work: (shard: Shard) => Promise<T>): Promise<T> {
  const answer = await work(shard);
  await assertHasAll(sessionOf(shard.dataSource), shard);
  return answer;
}

const sum = ({ results, away }: Fanned<number>): Purged => ({
  purged: results.reduce((total, { value }) => total + value, 0),
  away,
});
