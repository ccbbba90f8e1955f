import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { TextMap } from '../validation/json-rules';
import { Callable } from '../validation/option-rules';
import { BigInteger, Bytes, Flag, LARGEST_BIGINT, LONGEST_AGE_MS, Text, Uuid, WholeNumber } from '../validation/rules';
import { bigint, bytea, float8, integer, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { callersSession, sessionOf } from '../database/session';
import { OutboxMessageNotFoundError } from '../errors';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { type OutboxStats, readStats } from './outbox-stats';
import { INSERT_MESSAGES, messageHeaders } from './queue-message';

/** A message of a service's own. */
export class EnqueueCommand {
  /** Messages of one aggregate are delivered in order. */
  @Uuid()
  aggregateId: string;

  @Uuid()
  restaurantId: string;

  /** Decides the queue. */
  @Text(1, 100)
  messageType: string;

  @Bytes()
  payload: Uint8Array;

  /** For the consumer. The active W3C trace context is added. */
  @IsOptional()
  @TextMap()
  headers?: Record<string, string>;

  /**
   * Waits until no other transaction is enqueueing for the same aggregate, so that order of delivery is order of commit.
   * Needed where several transactions at once write for one aggregate without holding its row. Default false.
   */
  @IsOptional()
  @Flag()
  lockAggregate?: boolean;
}

/** Who sets a message aside, and why. */
export class DiscardCommand {
  @Text(1, 255)
  by: string;

  @Text(1, 1000)
  reason: string;
}

/** One message. */
class MessageRef {
  @BigInteger(1n, LARGEST_BIGINT)
  id: bigint;
}

/** A page of dead letters. */
export class ListFailedOptions {
  /** At most so many: 1 to 10,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  limit?: number;

  /** Those after this message: the `id` of the last one of the page before. */
  @IsOptional()
  @BigInteger(0n, LARGEST_BIGINT)
  after?: bigint;
}

/** What a purge of messages is told. */
export class PurgeMessagesOptions {
  /** Those that were delivered or discarded more than so many milliseconds ago: 0 to a hundred years. */
  @WholeNumber(0, LONGEST_AGE_MS)
  olderThanMs: number;

  /** How many ids a transaction: 1 to 1,000,000. Default 10,000. */
  @IsOptional()
  @WholeNumber(1, 1_000_000)
  batchSize?: number;

  /** Hears after each transaction how many there were so far. */
  @IsOptional()
  @Callable()
  onBatch?: (purged: number) => void;
}

/** A message that was given up. Its payload is not shown. */
export interface FailedMessage {
  readonly id: bigint;
  readonly aggregateId: string;
  readonly restaurantId: string;
  readonly messageType: string;
  readonly attempts: number;
  readonly lastError: string | null;
  readonly createdAt: Date;
  readonly failedAt: Date;
  /** Messages of the same aggregate that wait behind it. */
  readonly waiting: number;
}

/** Released at the end of the caller's transaction. The number is drawn after the lock is held. */
const LOCK_AGGREGATE = operation({
  name: 'lock_aggregate',
  input: { aggregate_id: uuid },
  sql: `SELECT pg_advisory_xact_lock(hashtextextended(aggregate_id::text, 0)) FROM input`,
});

const ENQUEUE = operation({
  name: 'enqueue',
  input: { aggregate_id: uuid, restaurant_id: uuid, message_type: text, payload: bytea, headers: messageHeaders },
  output: rowsOf<{ id: string }>(),
  sql: `${INSERT_MESSAGES}
  SELECT aggregate_id, restaurant_id, message_type, payload, headers FROM input RETURNING id`,
});

/** A relay holds the row lock of what it is sending: where that has gone out meanwhile, WHERE sees so. */
const REQUEUE = operation({
  name: 'requeue',
  input: { message_id: bigint },
  sql: `
  UPDATE outbox SET failed_at = NULL, attempts = 0, next_attempt_at = NULL
  FROM input
  WHERE id = message_id AND processed_at IS NULL AND (failed_at IS NOT NULL OR next_attempt_at > clock_timestamp())`,
});

/** Not what waits for its first attempt: that is meant to. */
const REQUEUE_ALL = operation({
  name: 'requeue_all',
  input: {},
  sql: `
  UPDATE outbox SET failed_at = NULL, attempts = 0, next_attempt_at = NULL
  WHERE processed_at IS NULL AND (attempts > 0 OR failed_at IS NOT NULL)
    AND (failed_at IS NOT NULL OR next_attempt_at > clock_timestamp())`,
});

/** Waits for a relay that is delivering the message at this moment; WHERE then sees whether it was. */
const DISCARD = operation({
  name: 'discard',
  input: { message_id: bigint, actor: text, reason: text },
  sql: `
  UPDATE outbox
  SET processed_at = clock_timestamp(), discarded_at = clock_timestamp(), discarded_by = actor, discard_reason = reason
  FROM input
  WHERE id = message_id AND processed_at IS NULL`,
});

const LIST_FAILED = operation({
  name: 'list_failed',
  input: { after_id: bigint, page_size: integer },
  output: rowsOf<FailedRow>(),
  sql: `
  SELECT id, aggregate_id, restaurant_id, message_type, attempts, last_error, created_at, failed_at,
         (SELECT count(*) FROM outbox AS behind
          WHERE behind.aggregate_id = message.aggregate_id AND behind.processed_at IS NULL
            AND behind.id > message.id)::integer AS waiting
  FROM outbox AS message, input
  WHERE processed_at IS NULL AND failed_at IS NOT NULL AND id > after_id
  ORDER BY id LIMIT (SELECT page_size FROM input)`,
});

/** In a subquery: PostgreSQL takes the ends of an index for min and max only in a query without WITH. */
const PROCESSED_RANGE = operation({
  name: 'processed_range',
  input: { older_than_ms: float8 },
  output: rowsOf<{ first: string | null; last: string | null }>(),
  sql: `
  SELECT first, last FROM (
    SELECT min(id) AS first, max(id) AS last FROM outbox, input
    WHERE processed_at < now() - older_than_ms * interval '1 millisecond'
  ) AS processed`,
});

const PURGE = operation({
  name: 'purge_processed',
  input: { first_id: bigint, end_id: bigint, older_than_ms: float8 },
  sql: `
  DELETE FROM outbox USING input
  WHERE id >= first_id AND id < end_id AND processed_at < now() - older_than_ms * interval '1 millisecond'`,
});

/**
 * Messages on their way to a queue, written in the transaction of what they tell (C. Richardson, "Transactional outbox").
 * A relay delivers them.
 *
 * @example
 * const outbox = new Outbox(dataSource);
 * await dataSource.transaction(async (manager) => {
 *   await manager.save(refund);
 *   await outbox.enqueue(manager, { aggregateId, restaurantId, messageType: 'refund_queued', payload });
 * });
 */
export class Outbox {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Writes a message in the caller's transaction: it goes out if and only if that commits.
   *
   * Messages of one aggregate are delivered in the order of their ids, which is the order of commit only where one
   * transaction at a time writes for it: one that holds the request's row lock, as every operation of AuthRequests
   * does, or says `lockAggregate`.
   *
   * @returns the message's id
   * @throws TransactionRequiredError, InvalidCommandError before anything is written
   */
  async enqueue(manager: EntityManager, input: EnqueueCommand): Promise<bigint> {
    const command = validateCommand(EnqueueCommand, input);
    const session = callersSession(this.#dataSource, manager, 'enqueue');
    const { aggregateId, restaurantId, messageType, payload, headers } = command;
    if (command.lockAggregate) await session.rows(LOCK_AGGREGATE, { aggregate_id: aggregateId });
    const row = await session.row(ENQUEUE, {
      aggregate_id: aggregateId,
      restaurant_id: restaurantId,
      message_type: messageType,
      payload,
      headers,
    });
    return BigInt(row!.id);
  }

  /**
   * Has a dead letter delivered again, with all its attempts before it; a message that waits for a time to come, at once.
   *
   * @throws OutboxMessageNotFoundError there is no message of that id, or it is neither given up nor waiting
   * @throws InvalidCommandError
   */
  async requeue(id: bigint, manager?: EntityManager): Promise<void> {
    validateCommand(MessageRef, { id });
    const requeued = await sessionOf(this.#dataSource, manager).write(REQUEUE, { message_id: id });
    if (requeued === 0) throw new OutboxMessageNotFoundError(id);
  }

  /** Has every dead letter delivered again, and what was refused and waits, at once. @returns how many there were */
  async requeueAll(manager?: EntityManager): Promise<number> {
    return await sessionOf(this.#dataSource, manager).write(REQUEUE_ALL, {});
  }

  /**
   * Sets a message aside that nobody is to receive, attributably; what waits behind it goes out.
   *
   * @throws OutboxMessageNotFoundError there is no message of that id, or it has been delivered
   * @throws InvalidCommandError
   */
  async discard(id: bigint, input: DiscardCommand, manager?: EntityManager): Promise<void> {
    validateCommand(MessageRef, { id });
    const { by, reason } = validateCommand(DiscardCommand, input);
    const session = sessionOf(this.#dataSource, manager);
    const discarded = await session.write(DISCARD, { message_id: id, actor: by, reason });
    if (discarded === 0) throw new OutboxMessageNotFoundError(id);
  }

  /**
   * Dead letters, oldest first.
   *
   * @throws InvalidCommandError
   */
  async listFailed(options?: ListFailedOptions, manager?: EntityManager): Promise<FailedMessage[]> {
    const { limit = 100, after = 0n } = validateOptions(ListFailedOptions, options);
    const session = sessionOf(this.#dataSource, manager);
    const rows = await session.rows(LIST_FAILED, { after_id: after, page_size: limit });
    return rows.map((row) => ({
      id: BigInt(row.id),
      aggregateId: row.aggregate_id,
      restaurantId: row.restaurant_id,
      messageType: row.message_type,
      attempts: row.attempts,
      lastError: row.last_error,
      createdAt: row.created_at,
      failedAt: row.failed_at,
      waiting: row.waiting,
    }));
  }

  /** For a dashboard or a metric: one query, which counts up to 10,000 and so costs about the same however much there is. */
  async stats(manager?: EntityManager): Promise<OutboxStats> {
    return await readStats(sessionOf(this.#dataSource, manager));
  }

  /**
   * Deletes messages that were delivered or discarded more than `olderThanMs` milliseconds ago, in ranges of `batchSize`
   * ids, each in a transaction of its own. Relays do not wait for it: they look at other rows.
   *
   * @returns how many there were
   * @throws InvalidCommandError
   */
  async purgeProcessed(options: PurgeMessagesOptions): Promise<number> {
    const { olderThanMs, batchSize = 10_000, onBatch } = validateOptions(PurgeMessagesOptions, options);
    const session = sessionOf(this.#dataSource);
    const range = await session.row(PROCESSED_RANGE, { older_than_ms: olderThanMs });
    if (!range?.first || !range.last) return 0;
    let purged = 0;
    for (let from = BigInt(range.first); from <= BigInt(range.last); from += BigInt(batchSize)) {
      const end = from + BigInt(batchSize);
      purged += await session.write(PURGE, { first_id: from, end_id: end, older_than_ms: olderThanMs });
      onBatch?.(purged);
    }
    return purged;
  }
}

interface FailedRow {
  id: string;
  aggregate_id: string;
  restaurant_id: string;
  message_type: string;
  attempts: number;
  last_error: string | null;
  created_at: Date;
  failed_at: Date;
  waiting: number;
}
