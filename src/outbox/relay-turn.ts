import { type DataSource } from 'typeorm';
import { run, type Send, transaction } from '../database/run';
import { statement } from '../database/statement';
import { type PublishOutcome, type RelayMessage } from './publisher';

/**
 * Hands messages to their publishers and tells what became of each, in their order. A message of which it says nothing
 * stays as it is. Throws when no broker can be reached: then nothing is marked.
 */
export type Deliver = (messages: readonly RelayMessage[]) => Promise<(PublishOutcome | undefined)[]>;

/** How a turn is bounded and what follows a refusal. */
export interface TurnSettings {
  readonly batchSize: number;
  /** Message types to leave alone. */
  readonly restingTypes: string[];
  readonly maxAttempts: number;
  /** Longest silence inside the turn's transaction before the server ends it: frees what a lost host had claimed. */
  readonly claimTimeoutMs: number;
  /** How long to wait before attempt number `attempt` + 1, in milliseconds. */
  readonly retryDelayMs: (attempt: number) => number;
}

/** A message together with what became of it. */
export interface TurnResult {
  readonly message: RelayMessage;
  readonly outcome: PublishOutcome;
  /** It was refused for good: a dead letter. */
  readonly failed: boolean;
}

const COLUMNS = 'id, aggregate_id, restaurant_id, message_type, payload, headers, attempts, created_at';

/**
 * No older message of the aggregate is unprocessed, but for those that wait for a first attempt to come.
 *
 * OFFSET 0 keeps the anti-join a probe of idx_outbox_unprocessed_aggregate per row: as a join it would be planned by
 * statistics, which a burst of messages outruns (measured: 12 s a turn instead of 0.5 ms). IS NOT TRUE, since for a message
 * without a time the comparison is NULL, and NULL would let it hold nothing back.
 */
const IS_OLDEST = `
  NOT EXISTS (
    SELECT FROM outbox AS earlier
    WHERE earlier.aggregate_id = message.aggregate_id AND earlier.processed_at IS NULL AND earlier.id < message.id
      AND (earlier.attempts = 0 AND earlier.next_attempt_at > statement_timestamp()) IS NOT TRUE
    OFFSET 0)`;

/**
 * The oldest message of each aggregate that is due: those without a time in the order of ids, those with one in the order
 * of times, each along a partial index that holds no others. What waits is not read, however much that is. The row lock is
 * the claim: what another relay holds is skipped, and a relay that dies gives its claims back at once. What another has
 * just processed is seen so: a lock is granted on the newest version of a row, and WHERE is evaluated on it again.
 *
 * A message that is not due yet and was never refused holds nothing back: a void overtakes a retry to come. Both halves
 * and the look at older messages compare with one instant, statement_timestamp(): by two, a message could be due in one
 * and hold nothing back in the other, and two of an aggregate would be in one batch.
 *
 * What was due later has half of the batch at most while there are others, so that a flood of retries holds up no void; of
 * an odd batch the rest falls to either. (EXISTS instead of the first id could be planned as a scan of the table.)
 */
export const CLAIM = statement(
  'relay_claim',
  `WITH due AS (
     SELECT ${COLUMNS} FROM outbox AS message
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at <= statement_timestamp()
       AND message_type <> ALL ($2::text[])
       AND ${IS_OLDEST}
     ORDER BY next_attempt_at
     LIMIT CASE WHEN (SELECT id FROM outbox
                      WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL
                      ORDER BY id LIMIT 1) IS NULL
       THEN $1::integer ELSE ($1::integer + (random() < 0.5)::integer) / 2 END
     FOR UPDATE SKIP LOCKED
   ), pending AS (
     SELECT ${COLUMNS} FROM outbox AS message
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL
       AND message_type <> ALL ($2::text[])
       AND ${IS_OLDEST}
     ORDER BY id
     LIMIT $1::integer - (SELECT count(*) FROM due)
     FOR UPDATE SKIP LOCKED
   )
   SELECT * FROM due UNION ALL SELECT * FROM pending ORDER BY id`,
);

export const MARK_PROCESSED = statement(
  'relay_mark_processed',
  `UPDATE outbox SET processed_at = clock_timestamp(), next_attempt_at = NULL, last_error = NULL
   WHERE id = ANY ($1::bigint[])`,
);

const MARK_REFUSED = statement(
  'relay_mark_refused',
  `UPDATE outbox
   SET attempts = refused.attempts, last_error = refused.reason,
       next_attempt_at = CASE WHEN NOT refused.failed THEN clock_timestamp() + refused.delay_ms * interval '1 millisecond' END,
       failed_at = CASE WHEN refused.failed THEN clock_timestamp() END
   FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::float8[], $5::boolean[])
     AS refused (id, attempts, reason, delay_ms, failed)
   WHERE outbox.id = refused.id`,
);

/**
 * One turn, in one transaction: claim, deliver, mark, commit. When delivery throws, nothing is marked and everything
 * stays as it was; when the commit fails, what was delivered is delivered again.
 */
export async function takeTurn(
  dataSource: DataSource,
  settings: TurnSettings,
  deliver: Deliver,
): Promise<TurnResult[]> {
  return await transaction(
    dataSource,
    { idle_in_transaction_session_timeout: settings.claimTimeoutMs },
    async (send) => {
      const messages = (await send<MessageRow>(CLAIM, [settings.batchSize, settings.restingTypes])).map(toMessage);
      return await deliverAndMark(send, messages, settings, deliver);
    },
  );
}

/**
 * The first turn of a relay: one message, whose attempt is written down and committed before it is delivered. A message
 * that kills the process, whatever the reason, is found that way: each death counts as an attempt, it waits longer each
 * time while others go out, and in the end it is a dead letter.
 */
export async function takeFirstTurn(
  dataSource: DataSource,
  settings: TurnSettings,
  deliver: Deliver,
): Promise<TurnResult[]> {
  const bounds = { idle_in_transaction_session_timeout: settings.claimTimeoutMs };
  const suspect = await transaction(dataSource, bounds, async (send) => {
    const [message] = (await send<MessageRow>(CLAIM, [1, settings.restingTypes])).map(toMessage);
    if (!message) return undefined;
    const outcome = { published: false, reason: 'The relay ended while it was publishing this message.' } as const;
    // Only a message that has died maxAttempts times is given up unheard.
    const failed = message.attempts >= settings.maxAttempts;
    const result = { message, outcome, failed };
    await mark(send, [result], settings);
    return result;
  });
  if (!suspect) return [];
  if (suspect.failed) return [suspect];
  const { message } = suspect;
  try {
    return await transaction(dataSource, bounds, async (send) => {
      const stillThere = (await send<MessageRow>(CLAIM_AGAIN, [message.id])).length > 0;
      return await deliverAndMark(send, stillThere ? [message] : [], settings, deliver);
    });
  } catch (error) {
    // It did not kill the process: the attempt does not count.
    await run(dataSource, FORGET_ATTEMPT, [message.id, message.attempts]);
    throw error;
  }
}

const CLAIM_AGAIN = statement(
  'relay_claim_again',
  `SELECT id FROM outbox WHERE id = $1 AND processed_at IS NULL AND failed_at IS NULL FOR UPDATE SKIP LOCKED`,
);

const FORGET_ATTEMPT = statement(
  'relay_forget_attempt',
  `UPDATE outbox SET attempts = $2, next_attempt_at = NULL, last_error = NULL
   WHERE id = $1 AND processed_at IS NULL AND attempts = $2 + 1`,
);

async function deliverAndMark(
  send: Send,
  messages: RelayMessage[],
  settings: TurnSettings,
  deliver: Deliver,
): Promise<TurnResult[]> {
  if (messages.length === 0) return [];
  const outcomes = await deliver(messages);
  const results = messages.flatMap((message, index) => judge(message, outcomes[index], settings) ?? []);
  await mark(send, results, settings);
  return results;
}

function judge(
  message: RelayMessage,
  outcome: PublishOutcome | undefined,
  { maxAttempts }: TurnSettings,
): TurnResult | undefined {
  if (!outcome) return undefined;
  const failed = !outcome.published && (outcome.permanent === true || message.attempts + 1 >= maxAttempts);
  return { message, outcome, failed };
}

async function mark(send: Send, results: TurnResult[], { retryDelayMs }: TurnSettings): Promise<void> {
  const processed = results.filter(({ outcome }) => outcome.published).map(({ message }) => message.id.toString());
  if (processed.length > 0) await send(MARK_PROCESSED, [processed]);
  const refused = results.flatMap(({ message, outcome, failed }) =>
    outcome.published ? [] : [{ message, reason: outcome.reason.replaceAll('\0', '').slice(0, 1_000), failed }],
  );
  if (refused.length === 0) return;
  await send(MARK_REFUSED, [
    refused.map(({ message }) => message.id.toString()),
    refused.map(({ message }) => message.attempts + 1),
    refused.map(({ reason }) => reason),
    refused.map(({ message }) => retryDelayMs(message.attempts + 1)),
    refused.map(({ failed }) => failed),
  ]);
}

interface MessageRow {
  id: string;
  aggregate_id: string;
  restaurant_id: string;
  message_type: string;
  payload: Buffer;
  headers: Record<string, string>;
  attempts: number;
  created_at: Date;
}

const toMessage = (row: MessageRow): RelayMessage => ({
  id: BigInt(row.id),
  aggregateId: row.aggregate_id,
  restaurantId: row.restaurant_id,
  messageType: row.message_type,
  payload: row.payload,
  headers: row.headers,
  attempts: row.attempts,
  createdAt: row.created_at,
});
