import { type DataSource } from 'typeorm';
import { arrayOf, bigint, boolean, float8, integer, text } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session, sessionOf } from '../database/session';
import { transaction } from '../database/transaction';
import { RECEIVES } from '../fence/receives';
import { type PublishOutcome, type RelayMessage } from './publisher';

/**
 * Hands messages to their publishers and tells the outcome of each, in their order. A message of which it says nothing
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

/** A message together with its outcome. */
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
export const IS_OLDEST = `
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
 *
 * Until a split has handed its restaurants over, their messages go out from where they come from, and none from the target.
 */
export const CLAIM = operation({
  name: 'relay_claim',
  input: { batch_size: integer, resting_types: arrayOf(text) },
  output: rowsOf<MessageRow>(),
  sql: `
  WITH batch AS (
    SELECT CASE WHEN EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'outbox'::regclass AND conname = '${RECEIVES}')
      THEN 0 ELSE batch_size END AS size
    FROM input
  ), due AS (
    SELECT ${COLUMNS} FROM outbox AS message, input
    WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at <= statement_timestamp()
      AND message_type <> ALL (resting_types)
      AND ${IS_OLDEST}
    ORDER BY next_attempt_at
    LIMIT (SELECT CASE WHEN (SELECT id FROM outbox
                             WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL
                             ORDER BY id LIMIT 1) IS NULL
             THEN size ELSE (size + (random() < 0.5)::integer) / 2 END FROM batch)
    FOR UPDATE OF message SKIP LOCKED
  ), pending AS (
    SELECT ${COLUMNS} FROM outbox AS message, input
    WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL
      AND message_type <> ALL (resting_types)
      AND ${IS_OLDEST}
    ORDER BY id
    LIMIT (SELECT size - (SELECT count(*) FROM due) FROM batch)
    FOR UPDATE OF message SKIP LOCKED
  )
  SELECT * FROM due UNION ALL SELECT * FROM pending ORDER BY id`,
});

export const MARK_PROCESSED = operation({
  name: 'relay_mark_processed',
  input: { ids: arrayOf(bigint) },
  sql: `
  UPDATE outbox SET processed_at = clock_timestamp(), next_attempt_at = NULL, last_error = NULL
  FROM input WHERE id = ANY (ids)`,
});

const MARK_REFUSED = operation({
  name: 'relay_mark_refused',
  input: {
    ids: arrayOf(bigint),
    attempt_counts: arrayOf(integer),
    reasons: arrayOf(text),
    delays_ms: arrayOf(float8),
    are_dead: arrayOf(boolean),
  },
  sql: `
  UPDATE outbox
  SET attempts = refused.attempts, last_error = reason,
      next_attempt_at = CASE WHEN NOT is_dead THEN clock_timestamp() + delay_ms * interval '1 millisecond' END,
      failed_at = CASE WHEN is_dead THEN clock_timestamp() END
  FROM input, unnest(ids, attempt_counts, reasons, delays_ms, are_dead)
    AS refused (message_id, attempts, reason, delay_ms, is_dead)
  WHERE id = message_id`,
});

const CLAIM_AGAIN = operation({
  name: 'relay_claim_again',
  input: { message_id: bigint },
  output: rowsOf<{ id: string }>(),
  sql: `
  SELECT id FROM outbox, input
  WHERE id = message_id AND processed_at IS NULL AND failed_at IS NULL
  FOR UPDATE OF outbox SKIP LOCKED`,
});

const FORGET_ATTEMPT = operation({
  name: 'relay_forget_attempt',
  input: { message_id: bigint, attempts_before: integer },
  sql: `
  UPDATE outbox SET attempts = attempts_before, next_attempt_at = NULL, last_error = NULL
  FROM input
  WHERE id = message_id AND processed_at IS NULL AND attempts = attempts_before + 1`,
});

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
    boundsOf(settings),
    async (session) => {
      const messages = await claim(session, settings.batchSize, settings);
      return await deliverAndMark(session, messages, settings, deliver);
    },
    CLAIMS_FIRST,
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
  const suspect = await transaction(
    dataSource,
    boundsOf(settings),
    async (session) => {
      const [message] = await claim(session, 1, settings);
      if (!message) return undefined;
      const outcome = { published: false, reason: 'The relay ended while it was publishing this message.' } as const;
      // Only a message that has died maxAttempts times is given up without being published again.
      const failed = message.attempts >= settings.maxAttempts;
      const result = { message, outcome, failed };
      mark(session, [result], settings);
      return result;
    },
    CLAIMS_FIRST,
  );
  if (!suspect) return [];
  if (suspect.failed) return [suspect];
  const { message } = suspect;
  try {
    return await transaction(
      dataSource,
      boundsOf(settings),
      async (session) => {
        const stillThere = await session.row(CLAIM_AGAIN, { message_id: message.id });
        return await deliverAndMark(session, stillThere ? [message] : [], settings, deliver);
      },
      CLAIMS_FIRST,
    );
  } catch (error) {
    // It did not kill the process: the attempt does not count.
    await sessionOf(dataSource).write(FORGET_ATTEMPT, { message_id: message.id, attempts_before: message.attempts });
    throw error;
  }
}

/** A claim only locks: it is sent together with BEGIN. */
const CLAIMS_FIRST = { readsFirst: true };

const boundsOf = ({ claimTimeoutMs }: TurnSettings) => ({ idle_in_transaction_session_timeout: claimTimeoutMs });

async function claim(session: Session, count: number, { restingTypes }: TurnSettings): Promise<RelayMessage[]> {
  return (await session.rows(CLAIM, { batch_size: count, resting_types: restingTypes })).map(toMessage);
}

async function deliverAndMark(
  session: Session,
  messages: RelayMessage[],
  settings: TurnSettings,
  deliver: Deliver,
): Promise<TurnResult[]> {
  if (messages.length === 0) return [];
  const outcomes = await deliver(messages);
  const results = messages.flatMap((message, index) => judge(message, outcomes[index], settings) ?? []);
  mark(session, results, settings);
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

/** Together with COMMIT. */
function mark(session: Session, results: TurnResult[], { retryDelayMs }: TurnSettings): void {
  const processed = results.filter(({ outcome }) => outcome.published).map(({ message }) => message.id);
  if (processed.length > 0) session.writeLast(MARK_PROCESSED, { ids: processed });
  const refused = results.flatMap(({ message, outcome, failed }) =>
    outcome.published ? [] : [{ message, reason: outcome.reason.replaceAll('\0', '').slice(0, 1_000), failed }],
  );
  if (refused.length === 0) return;
  session.writeLast(MARK_REFUSED, {
    ids: refused.map(({ message }) => message.id),
    attempt_counts: refused.map(({ message }) => message.attempts + 1),
    reasons: refused.map(({ reason }) => reason),
    delays_ms: refused.map(({ message }) => retryDelayMs(message.attempts + 1)),
    are_dead: refused.map(({ failed }) => failed),
  });
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
