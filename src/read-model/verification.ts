import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session, sessionOf } from '../database/session';
import { AuthRequestNotFoundError, WrongShardError } from '../errors';
import { readFence } from '../fence/read-fence';
import { owns } from '../fence/residue';
import { Uuid } from '../validation/rules';
import { comparedFields, type FieldDifference, differencesBetween } from './differences';
import { type HoldDifference, holdDifferencesBetween } from './hold-differences';
import { foldStream, type UnfoldableReason, UnfoldableStreamError } from './fold-stream';
import { readRecords, type RequestRecord } from './read-records';
import { AS_THEY_ARE, type ReadShape, readShape } from './read-shape';

/** One request whose row is not what its events say, or one of whose holds is not. */
export type RequestDifference = { readonly authRequestId: string } & (
  | {
      /** `holds_differ`: the row itself is right. */
      readonly kind: 'row_differs' | 'row_missing' | 'holds_differ';
      /** Against a row that is missing everything that the events have differs. */
      readonly differences: FieldDifference[];
      /** Left out where no hold differs. */
      readonly holds?: HoldDifference[];
    }
  | {
      readonly kind: 'events_unfoldable';
      readonly reason: UnfoldableReason;
      /** The first event that is missing, or the one that is at fault. */
      readonly sequenceNumber: number;
    }
);

/** What {@link Verification} is to look at: everything, what belongs to one restaurant, one request, or both. */
export class VerificationScope {
  @IsOptional()
  @Uuid()
  restaurantId?: string;

  @IsOptional()
  @Uuid()
  authRequestId?: string;
}

const FIRST_ID = '00000000-0000-0000-0000-000000000000';
const PAGE_SIZE = 500;

/**
 * A page and the first id of the next one. One restaurant's requests are picked out later: nothing but a walk finds its
 * events that have no row.
 *
 * The ids in payment_events are found by one index probe each ("loose index scan", wiki.postgresql.org), whatever the
 * length of a stream. DISTINCT would read the whole table for every page where it has not been analyzed.
 */
const PAGE_OF_IDS = operation({
  name: 'read_model_ids',
  input: { first_id: uuid },
  output: rowsOf<{ id: string }>(),
  sql: `
  WITH RECURSIVE stream (id, number) AS (
    (SELECT aggregate_id, 1 FROM payment_events, input WHERE aggregate_id >= first_id ORDER BY aggregate_id LIMIT 1)
    UNION ALL
    SELECT next.id, stream.number + 1
    FROM stream CROSS JOIN LATERAL (
      SELECT aggregate_id AS id FROM payment_events WHERE aggregate_id > stream.id ORDER BY aggregate_id LIMIT 1
    ) AS next
    WHERE stream.number <= ${PAGE_SIZE}
  )
  SELECT id FROM (
    SELECT id FROM stream
    UNION
    (SELECT auth_request_id FROM auth_request_state, input WHERE auth_request_id >= first_id
     ORDER BY auth_request_id LIMIT ${PAGE_SIZE + 1})
  ) AS request
  ORDER BY id LIMIT ${PAGE_SIZE + 1}`,
});

/**
 * A comparison of rows, and those of holds, with their events. Iterating it runs it, and gives one element a request that differs.
 *
 * It walks the ids of all requests in pages and holds one page at a time, so that memory stays flat. The row, the
 * holds and the events of a page come from one statement, hence from one snapshot: a request that changes meanwhile is seen before or
 * after the change, and never gives a false alarm. Nothing is locked.
 */
export class Verification implements AsyncIterable<RequestDifference> {
  readonly #dataSource: DataSource;
  readonly #session: Session;
  readonly #scope: VerificationScope;
  #checked = 0;
  #differing = 0;
  #leftBehind = 0;

  constructor(dataSource: DataSource, scope: VerificationScope, manager?: EntityManager) {
    this.#dataSource = dataSource;
    this.#session = sessionOf(dataSource, manager);
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

  /**
   * How many were left out so far, since their restaurants are in another database by the fence of this one: what a split
   * has moved leaves its events behind.
   */
  get leftBehind(): number {
    return this.#leftBehind;
  }

  /**
   * Compares from the beginning; the counts begin again at 0.
   *
   * @throws AuthRequestNotFoundError the one request that was to be looked at has neither row nor events
   * @throws WrongShardError it is in another database
   * @throws ConfigurationError the fences of the tables do not agree
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<RequestDifference, void, undefined> {
    this.#checked = this.#differing = this.#leftBehind = 0;
    const shape = await readShape(this.#dataSource, this.#session);
    const fence = await readFence(this.#session);
    const { restaurantId } = this.#scope;
    const scope = { shape, zones: AS_THEY_ARE, restaurantId };
    for await (const ids of this.#pages()) {
      for (const record of await readRecords(this.#session, ids, scope)) {
        if (restaurantId && !belongsTo(record, restaurantId)) continue;
        if (fence && record.restaurantId !== null && !owns(fence, record.restaurantId)) {
          this.#leftBehind += 1;
          continue;
        }
        this.#checked += 1;
        const difference = differenceOf(record, shape);
        if (!difference) continue;
        this.#differing += 1;
        yield difference;
      }
    }
    const { authRequestId } = this.#scope;
    if (!authRequestId || this.#checked > 0) return;
    throw this.#leftBehind > 0 ? new WrongShardError() : new AuthRequestNotFoundError(authRequestId);
  }

  async *#pages(): AsyncGenerator<string[], void, undefined> {
    if (this.#scope.authRequestId) return yield [this.#scope.authRequestId];
    let next: string | undefined = FIRST_ID;
    while (next) {
      const found: { id: string }[] = await this.#session.rows(PAGE_OF_IDS, { first_id: next });
      yield found.slice(0, PAGE_SIZE).map(({ id }) => id);
      next = found[PAGE_SIZE]?.id;
    }
  }
}

/** Events have no column for it at first, and say it themselves if they can be read. */
function belongsTo({ authRequestId, restaurantId, events }: RequestRecord, wanted: string): boolean {
  if (restaurantId !== null) return true;
  try {
    return foldStream(authRequestId, events).restaurantId.toLowerCase() === wanted.toLowerCase();
  } catch (error) {
    if (!(error instanceof UnfoldableStreamError)) throw error;
    return false;
  }
}

/** What the row of one request, or one of its holds, does not say as its events do; undefined where nothing differs. */
export function differenceOf(
  { authRequestId, row, events, holds: rows }: RequestRecord,
  shape: ReadShape,
): RequestDifference | undefined {
  try {
    const folded = foldStream(authRequestId, events);
    const differences = differencesBetween(row, folded, comparedFields(shape));
    const holds = shape.hasHolds ? holdDifferencesBetween(rows, folded.holds) : [];
    if (row && differences.length === 0 && holds.length === 0) return undefined;
    const kind = !row ? 'row_missing' : differences.length > 0 ? 'row_differs' : 'holds_differ';
    return { authRequestId, kind, differences, ...(holds.length > 0 && { holds }) };
  } catch (error) {
    if (!(error instanceof UnfoldableStreamError)) throw error;
    const { reason, sequenceNumber } = error;
    return { authRequestId, kind: 'events_unfoldable', reason, sequenceNumber };
  }
}
