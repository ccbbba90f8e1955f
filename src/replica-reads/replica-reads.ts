import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { type AuthRequest, toAuthRequest } from '../auth-requests/auth-request';
import {
  type AuthRequestPage,
  get,
  list,
  ListCommand,
  pageInput,
  type PageRow,
  requestInput,
  RequestRef,
  toPage,
} from '../auth-requests/queries';
import { sessionOf } from '../database/session';
import { LARGEST_INTEGER, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { validateOptions, validateSettings } from '../validation/validate-options';
import { LOOK_FOR_PAGE, LOOK_FOR_REQUEST } from './look';
import { Replica } from './replica';
import { Seen, type SeenRequest } from './seen-request';
import { countRead, type ReadFrom } from './telemetry';

/** How {@link ReplicaReads} asks a replica. */
export class ReplicaReadsOptions {
  /**
   * How long after a look that has come too early the replica is asked again, in milliseconds: 1 to 60,000; then after twice as
   * long each time. Default 10.
   */
  @IsOptional()
  @WholeNumber(1, 60_000)
  pollMs?: number;

  /**
   * For how long a read waits for the replica in all, in milliseconds: 1 to 60,000. Then the primary is asked. Longer means
   * slower reads while the replica is behind, shorter means more of them at the primary. Default 250.
   */
  @IsOptional()
  @WholeNumber(1, 60_000)
  withinMs?: number;
}

/** What {@link ReplicaReads.get} may be told. */
export class ReplicaGetOptions {
  /**
   * The `lastEventSequence` that the caller has seen of this request, in a receipt or an earlier answer. 0: any that is
   * there. Default: the same, and the replica is not waited for.
   */
  @IsOptional()
  @WholeNumber(0, LARGEST_INTEGER)
  atLeast?: number;
}

/** What {@link ReplicaReads.list} may be told. */
export class ReplicaListOptions {
  /**
   * What the caller has seen of this restaurant's requests: receipts, requests of earlier answers, at most 2,000. Of others nothing
   * is compared: one of another restaurant's counts as not there. Default: nothing.
   */
  @IsOptional()
  @Seen()
  atLeast?: SeenRequest | readonly SeenRequest[];
}

/** A request, and which server it was read from. */
export interface ReplicaRequest extends AuthRequest {
  readonly from: ReadFrom;
}

/** A page of requests, and which server it was read from. */
export interface ReplicaPage extends AuthRequestPage {
  readonly from: ReadFrom;
}

/**
 * Reads requests from a replica (a hot standby, or an address behind which there are several), and never an older state of a request than its
 * caller has seen.
 *
 * What has been seen is told by the number of the request's last event, `lastEventSequence`, which each receipt and each `AuthRequest` has: with
 * each change of a request, its holds included, there is an event, and their numbers never fall. The replica's answer is good where
 * it has at least that one. Until then it is asked again, for `withinMs` at most; then the primary answers.
 *
 * What is promised:
 *
 * - `get` with `atLeast`: no older state of that request than the one with that event.
 * - `list` with `atLeast`: no older state of the restaurant's requests than when the last of those events had just committed.
 * - Without it: some state that was committed, however old; but a request is never called missing by a replica: that
 *   is for the primary to say, and so is everything where the replica is away, answers with an error, has not had the migrations that this version
 *   needs, or follows no primary (promoted, or a logical one).
 *
 * What is not: the primary's answer is the truth as it is now, whatever `atLeast` says. It has a smaller `lastEventSequence` where the caller's is
 * none that the database has told, where a failover has lost it (see `synchronous_standby_names` in PostgreSQL's manual), or where the
 * request has moved to another database meanwhile. A standby that still follows a server other than the primary has events of its own under the
 * same numbers: take it out of the address. `sweeps` and `updatedAt` change without an event, and may be older.
 *
 * @example
 * const reads = new ReplicaReads(dataSource, new PaymentEventsDataSource(createDataSourceOptions({ url: replicaUrl })));
 * const receipt = await requests.authorize(command);
 * const request = await reads.get({ restaurantId, ...receipt }, { atLeast: receipt.lastEventSequence });
 */
export class ReplicaReads {
  readonly #primary: DataSource;
  readonly #replica: Replica;

  /**
   * @param primary open; closing it stays its owner's
   * @param replica opened by the first read, and again where that fails; closed by {@link destroy}
   * @throws ConfigurationError naming each option that is wrong
   */
  constructor(primary: DataSource, replica: DataSource, options?: ReplicaReadsOptions) {
    const { pollMs = 10, withinMs = 250 } = validateSettings({ ReplicaReadsOptions }, options);
    this.#primary = primary;
    this.#replica = new Replica(replica, { pollMs, withinMs });
  }

  /**
   * One request, or null where the primary has none of that restaurant.
   *
   * @throws InvalidCommandError
   * @throws DatabaseUnavailableError, DatabaseTimeoutError retryable: the primary was needed, and is away
   */
  async get(ref: RequestRef, options?: ReplicaGetOptions): Promise<ReplicaRequest | null> {
    const wanted = validateCommand({ RequestRef }, ref);
    const { atLeast } = validateOptions({ ReplicaGetOptions }, options);
    const look = { ...requestInput(wanted), at_least: atLeast ?? 0 };
    const answer = await this.#replica.ask(async (session) => {
      const { follows, ...row } = (await session.row(LOOK_FOR_REQUEST, look))!;
      return { follows, found: row.auth_request_id === null ? undefined : toAuthRequest(row) };
    }, atLeast !== undefined);
    countRead('get', answer);
    if (answer.found) return { ...answer.found, from: 'replica' };
    const request = await get(sessionOf(this.#primary), wanted);
    return request && { ...request, from: 'primary' };
  }

  /**
   * A restaurant's requests, newest first, a page at a time. A page after another is read from a replica only where that has the
   * request at which the other ended, so that none is skipped which had been there before it. To see no request in an older state than on the page before,
   * give that one's `requests` as `atLeast` as well.
   *
   * @throws InvalidCommandError
   * @throws DatabaseUnavailableError, DatabaseTimeoutError retryable: the primary was needed, and is away
   */
  async list(command: ListCommand, options?: ReplicaListOptions): Promise<ReplicaPage> {
    const wanted = validateCommand({ ListCommand }, command);
    const { atLeast = [] } = validateOptions({ ReplicaListOptions }, options);
    const page = pageInput(wanted);
    const seen = ([] as SeenRequest[]).concat(atLeast);
    if (page.before_id !== null) seen.push({ authRequestId: page.before_id, lastEventSequence: 0 });
    const look = {
      ...page,
      seen_ids: seen.map(({ authRequestId }) => authRequestId),
      seen_sequences: seen.map(({ lastEventSequence }) => lastEventSequence),
    };
    const answer = await this.#replica.ask(async (session) => {
      const rows = await session.rows(LOOK_FOR_PAGE, look);
      const { follows, is_there } = rows[0]!;
      const found = rows.filter((row) => row.auth_request_id !== null) as PageRow[];
      return { follows, found: is_there ? toPage(found, page) : undefined };
    }, true);
    countRead('list', answer);
    if (answer.found) return { ...answer.found, from: 'replica' };
    return { ...(await list(sessionOf(this.#primary), wanted)), from: 'primary' };
  }

  /** Closes the replica's connections. From then on the primary answers. */
  async destroy(): Promise<void> {
    await this.#replica.close();
  }
}
