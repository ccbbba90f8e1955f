import { IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { bytea, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { TextMap } from '../validation/json-rules';
import { Bytes, Flag, Text, Uuid } from '../validation/rules';
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

  @FreeText()
  @Bytes()
  payload: Uint8Array;

  /** For the consumer. The active W3C trace context is added. */
  @FreeText()
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

/** Writes a message in the transaction of the session. @returns its id */
export async function enqueue(session: Session, command: EnqueueCommand): Promise<bigint> {
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
