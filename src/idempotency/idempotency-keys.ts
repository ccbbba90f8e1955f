import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { JsonObject } from '../validation/json-rules';
import { Text, Uuid, WholeNumber } from '../validation/rules';
import { bytea, integer, orNull, text, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { untilDecided } from '../database/repeat';
import { callersSession, writeInBatches } from '../database/session';
import { IdempotencyKeyReuseError } from '../errors';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { fingerprint } from './fingerprint';
import { readKey } from './read-key';
import { takeKey } from './take-key';

/** An operation of a service's own that a restaurant may send twice. */
export class ClaimCommand {
  @Uuid()
  restaurantId: string;

  /** The restaurant's own, at most 255 characters. Lives 24 hours. One name space for all operations. */
  @Text(1, 255)
  idempotencyKey: string;

  /** Such as `refund`. `authorize` and `void` belong to AuthRequests. */
  @Text(1, 20)
  operation: string;

  /** The request that the operation makes or acts on. */
  @Uuid()
  authRequestId: string;

  /** What makes it the same operation: everything the caller sent. JSON, of at most 100 levels and a million characters. */
  @JsonObject()
  request: Record<string, unknown>;

  /** What to answer a repeat with, at most 20 characters. */
  @IsOptional()
  @Text(1, 20)
  outcome?: string;
}

/** What a purge of keys may be told. */
export class PurgeKeysOptions {
  /** How many a transaction: 1 to 10,000. Default 1,000. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;
}

/** Whether to do the operation, or what it came to before. */
export interface Claim {
  /** True: it was done before, write nothing. False: do it, in the same transaction. */
  readonly replayed: boolean;
  /** The request of the first time. */
  readonly authRequestId: string;
  /** The outcome of the first time. */
  readonly outcome: string | null;
}

const CLAIM = operation({
  name: 'claim_idempotency_key',
  input: {
    idempotency_key: text,
    restaurant_id: uuid,
    auth_request_id: uuid,
    operation: text,
    outcome: orNull(text),
    request_fingerprint: bytea,
  },
  output: rowsOf<{ auth_request_id: string }>(),
  sql: `${takeKey(`
    SELECT idempotency_key, restaurant_id, auth_request_id, operation, outcome, request_fingerprint FROM input`)}
    RETURNING auth_request_id`,
});

/** Rows that somebody is taking over at this moment are left to them. */
const PURGE = operation({
  name: 'purge_expired_keys',
  input: { batch_size: integer },
  sql: `
    DELETE FROM auth_idempotency_keys WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM auth_idempotency_keys WHERE expires_at <= now()
      ORDER BY expires_at LIMIT (SELECT batch_size FROM input) FOR UPDATE SKIP LOCKED))`,
});

/**
 * Idempotency keys for a service's own operations, and the purge of all.
 *
 * @example
 * const keys = new IdempotencyKeys(dataSource);
 * await dataSource.transaction(async (manager) => {
 *   const claim = await keys.claim({ restaurantId, idempotencyKey, operation: 'refund', authRequestId, request }, manager);
 *   if (claim.replayed) return;
 *   await refund(manager);
 * });
 */
export class IdempotencyKeys {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Uses the key for an operation, inside the transaction that carries the operation out: both are kept, or neither.
   * Of two at once the second waits for the first one's end.
   *
   * @throws IdempotencyKeyReuseError the key was used for something else
   * @throws TransactionRequiredError, InvalidCommandError
   */
  async claim(input: ClaimCommand, manager: EntityManager): Promise<Claim> {
    const command = validateCommand({ ClaimCommand }, input);
    const session = callersSession(this.#dataSource, manager, 'claim');
    const { idempotencyKey, operation, request, outcome = null } = command;
    const restaurantId = command.restaurantId.toLowerCase();
    const authRequestId = command.authRequestId.toLowerCase();
    const requestFingerprint = fingerprint(operation, restaurantId, authRequestId, request);
    return await untilDecided(async () => {
      const row = await session.row(CLAIM, {
        idempotency_key: idempotencyKey,
        restaurant_id: restaurantId,
        auth_request_id: authRequestId,
        operation,
        outcome,
        request_fingerprint: requestFingerprint,
      });
      if (row) return { replayed: false, authRequestId: row.auth_request_id, outcome };
      const key = await readKey(session, { idempotencyKey, restaurantId });
      if (!key) return undefined;
      if (!key.stoodFor(operation, requestFingerprint)) throw new IdempotencyKeyReuseError(key.authRequestId);
      return { replayed: true, authRequestId: key.authRequestId, outcome: key.outcome };
    });
  }

  /**
   * Deletes expired keys, `batchSize` at a time, each batch in a transaction of its own. Nothing waits for it: an expired
   * key is taken over by the next request anyway.
   *
   * @returns how many there were
   * @throws InvalidCommandError
   */
  async purgeExpired(options?: PurgeKeysOptions): Promise<number> {
    const { batchSize = 1_000 } = validateOptions({ PurgeKeysOptions }, options);
    return await writeInBatches(this.#dataSource, PURGE, batchSize);
  }
}
