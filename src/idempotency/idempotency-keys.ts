import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { JsonObject } from '../validation/json-rules';
import { Text, Uuid, WholeNumber } from '../validation/rules';
import { queryRunnerOf } from '../database/connections';
import { run, writeInBatches } from '../database/run';
import { statement } from '../database/statement';
import { IdempotencyKeyReuseError, TransactionConflictError } from '../errors';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { fingerprint } from './fingerprint';
import { readKey } from './read-key';

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

/** Why this is right while others do the same: see AUTHORIZE. */
const CLAIM = statement(
  'claim_idempotency_key',
  `INSERT INTO auth_idempotency_keys AS existing
     (idempotency_key, restaurant_id, auth_request_id, operation, request_fingerprint, outcome)
   VALUES ($1, $2, $3, $4, $5, $6)
   ON CONFLICT (idempotency_key, restaurant_id) DO UPDATE
     SET auth_request_id = excluded.auth_request_id, operation = excluded.operation, outcome = excluded.outcome,
         request_fingerprint = excluded.request_fingerprint,
         created_at = excluded.created_at, expires_at = excluded.expires_at
     WHERE existing.expires_at <= now()
   RETURNING auth_request_id`,
);

/** Rows that somebody is taking over at this moment are left to them. */
const PURGE = statement(
  'purge_expired_keys',
  `DELETE FROM auth_idempotency_keys WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM auth_idempotency_keys WHERE expires_at <= now()
     ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))`,
);

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
    const command = validateCommand(ClaimCommand, input);
    queryRunnerOf(this.#dataSource, manager, 'claim');
    const { idempotencyKey, operation, request, outcome = null } = command;
    const restaurantId = command.restaurantId.toLowerCase();
    const requestFingerprint = fingerprint(operation, restaurantId, command.authRequestId.toLowerCase(), request);
    const values = [idempotencyKey, restaurantId, command.authRequestId, operation, requestFingerprint, outcome];
    for (let attempt = 1; attempt <= 3; attempt++) {
      const [row] = await run<{ auth_request_id: string }>(this.#dataSource, CLAIM, values, manager);
      if (row) return { replayed: false, authRequestId: row.auth_request_id, outcome };
      const key = await readKey(this.#dataSource, { idempotencyKey, restaurantId }, manager);
      if (!key) continue;
      if (!key.stoodFor(operation, requestFingerprint)) throw new IdempotencyKeyReuseError(key.authRequestId);
      return { replayed: true, authRequestId: key.authRequestId, outcome: key.outcome };
    }
    throw new TransactionConflictError('40001');
  }

  /**
   * Deletes expired keys, `batchSize` at a time, each batch in a transaction of its own. Nothing waits for it: an expired
   * key is taken over by the next request anyway.
   *
   * @returns how many there were
   * @throws InvalidCommandError
   */
  async purgeExpired(options?: PurgeKeysOptions): Promise<number> {
    const { batchSize = 1_000 } = validateOptions(PurgeKeysOptions, options);
    return await writeInBatches(this.#dataSource, PURGE, batchSize);
  }
}
