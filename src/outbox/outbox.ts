import { type DataSource, type EntityManager } from 'typeorm';
import { FreeText } from '../card-numbers/free-fields';
import { screenNew, screenReport } from '../card-numbers/screen';
import { bigint, text } from '../database/columns';
import { operation } from '../database/operation';
import { callersSession, sessionOf } from '../database/session';
import { OutboxMessageNotFoundError } from '../errors';
import { BigInteger, LARGEST_BIGINT, Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { enqueue, EnqueueCommand } from './enqueue';
import { type FailedMessage, listFailed, type ListFailedOptions } from './list-failed';
import { type OutboxStats, readStats } from './outbox-stats';
import { purgeProcessed, type PurgeMessagesOptions } from './purge-processed';

/** Who sets a message aside, and why. */
export class DiscardCommand {
  @FreeText()
  @Text(1, 255)
  by: string;

  @FreeText()
  @Text(1, 1000)
  reason: string;
}

/** One message. */
class MessageRef {
  @BigInteger(1n, LARGEST_BIGINT)
  id: bigint;
}

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
    const given = validateCommand({ EnqueueCommand }, input);
    const command = screenNew(this.#dataSource, 'enqueue', { EnqueueCommand: given });
    const session = callersSession(this.#dataSource, manager, 'enqueue');
    return await enqueue(session, command);
  }

  /**
   * Has a dead letter delivered again, with all its attempts before it; a message that waits for a time to come, at once.
   *
   * @throws OutboxMessageNotFoundError there is no message of that id, or it is neither given up nor waiting
   * @throws InvalidCommandError
   */
  async requeue(id: bigint, manager?: EntityManager): Promise<void> {
    validateCommand({ MessageRef }, { id });
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
    validateCommand({ MessageRef }, { id });
    const command = screenReport(this.#dataSource, 'discard', validateCommand({ DiscardCommand }, input));
    const { by, reason } = command;
    const session = sessionOf(this.#dataSource, manager);
    const discarded = await session.write(DISCARD, { message_id: id, actor: by, reason });
    if (discarded === 0) throw new OutboxMessageNotFoundError(id);
  }

  /**
   * Dead letters, oldest first. Of any restaurant: one that has moved to another database may have left a message here, which the
   * relay of this one delivers. `stats` counts it as well.
   *
   * @throws InvalidCommandError
   */
  async listFailed(options?: ListFailedOptions, manager?: EntityManager): Promise<FailedMessage[]> {
    return await listFailed(sessionOf(this.#dataSource, manager), options);
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
    return await purgeProcessed(sessionOf(this.#dataSource), options);
  }
}
