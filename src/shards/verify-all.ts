import { AuthRequestNotFoundError, PaymentEventsDbError, WrongShardError } from '../errors';
import { owns } from '../fence/residue';
import { type RequestDifference, type VerificationScope } from '../read-model/verification';
import { type Away } from './fan-out';
import { type Place } from './place';

/**
 * A comparison of rows with their events in every database, or in that of the one restaurant that it is of. Iterating it
 * runs it, one database after the other, and gives one element a request that differs, with the name of its database.
 */
export class AllVerifications implements AsyncIterable<RequestDifference & { readonly shard: string }> {
  readonly #places: () => readonly Place[];
  readonly #scope: VerificationScope;
  #checked = 0;
  #differing = 0;
  #away: Away[] = [];

  /** Made by `Shards.all`. */
  constructor(places: () => readonly Place[], scope: VerificationScope) {
    this.#places = places;
    this.#scope = scope;
  }

  /** How many requests have been compared so far. */
  get checked(): number {
    return this.#checked;
  }

  /** How many of them differ. */
  get differing(): number {
    return this.#differing;
  }

  /** Databases that could not be compared so far, or not to the end. */
  get away(): readonly Away[] {
    return this.#away;
  }

  /**
   * Compares from the beginning, by the map in use now.
   *
   * @throws AuthRequestNotFoundError no database has the one request that was to be looked at
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<RequestDifference & { readonly shard: string }, void, undefined> {
    this.#checked = this.#differing = 0;
    this.#away = [];
    const { restaurantId, authRequestId } = this.#scope;
    for (const place of this.#places()) {
      if (restaurantId && !owns(place.class, restaurantId)) continue;
      const before = this.#checked;
      try {
        const verification = (await place.open()).readModel.verify(this.#scope);
        for await (const difference of verification) {
          this.#differing += 1;
          this.#checked = before + verification.checked;
          yield { ...difference, shard: place.name };
        }
        this.#checked = before + verification.checked;
      } catch (error) {
        if (!(error instanceof PaymentEventsDbError)) throw error;
        // Another database may have it: this one has nothing of it, or events of a restaurant that has moved away.
        const isElsewhere = [AuthRequestNotFoundError, WrongShardError].some((type) => error instanceof type);
        if (!(authRequestId && isElsewhere)) this.#away.push({ shard: place.name, error });
      }
    }
    if (authRequestId && this.#checked === 0 && this.#away.length === 0)
      throw new AuthRequestNotFoundError(authRequestId);
  }
}
