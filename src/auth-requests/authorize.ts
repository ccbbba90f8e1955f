import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { FreeId, FreeText } from '../card-numbers/free-fields';
import { maskCommand, screenNew } from '../card-numbers/screen';
import { bigint, bytea, jsonb, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { type Encoded, operation, rowsOf } from '../database/operation';
import { untilDecided } from '../database/repeat';
import { type Session } from '../database/session';
import { IdempotencyKeyReuseError } from '../errors';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { fingerprint } from '../idempotency/fingerprint';
import { type KeyRef, readKey, type UsedKey } from '../idempotency/read-key';
import { takeKey } from '../idempotency/take-key';
import { messageHeaders, messageOf, queueMessage } from '../outbox/queue-message';
import { JsonObject } from '../validation/json-rules';
import { Currency, Text, Uuid, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type AuthRequestStatus } from './statuses';
import { TracedCommand } from './traced-command';

/** A restaurant asks for a payment to be authorized. */
export class AuthorizeCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  /** Stands for the card. */
  @FreeId()
  @Text(1, 64)
  paymentToken: string;

  /** In the currency's minor unit: 1 to 2^53 − 1. */
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  amountCents: number;

  /** ISO 4217, upper case. */
  @Currency()
  currency: string;

  /** The restaurant's own, at most 255 characters. Lives 24 hours. */
  @FreeId()
  @Text(1, 255)
  idempotencyKey: string;

  /** JSON, of at most 100 levels and a million characters. Nothing personal, no card data. Default `{}`. */
  @FreeText()
  @IsOptional()
  @JsonObject()
  metadata?: Record<string, unknown>;
}

/** What {@link AuthorizeCommand} comes to. */
export interface AuthorizeReceipt {
  readonly authRequestId: string;
  /** PENDING when new, else the current one; null for a replayed legacy key whose request has no row in the read model. */
  readonly status: AuthRequestStatus | null;
  /** The number of its last event, as of the status; 0 where that is null. See `ReplicaReads`. */
  readonly lastEventSequence: number;
  /** The key was used before, for the same request: nothing was written. */
  readonly replayed: boolean;
}

const TAKEN = 'input JOIN key USING (auth_request_id)';

/**
 * Key first; the rest selects from it, so that either all of it is written or nothing. An unexpired key gives no row. The state
 * is last: of that, unlike of the outbox, every role that accepts requests may read the id.
 */
export const AUTHORIZE = operation({
  name: 'authorize',
  input: {
    idempotency_key: text,
    restaurant_id: uuid,
    auth_request_id: uuid,
    request_fingerprint: bytea,
    payment_token: text,
    amount_cents: bigint,
    currency: text,
    request_metadata: jsonb,
    event_id: uuid,
    event: eventOf('AuthRequestCreated'),
    event_metadata: eventMetadata,
    message: messageOf('auth_request_queued'),
    headers: messageHeaders,
  },
  /** Of the form for many. */
  output: rowsOf<{ auth_request_id: string }>(),
  sql: (input) => `
    WITH key AS (${takeKey(`
      SELECT idempotency_key, restaurant_id, auth_request_id, 'authorize', NULL, request_fingerprint FROM input`)}
      RETURNING auth_request_id
    ), event AS (${appendEvent(input, { from: TAKEN, id: 'event_id', sequence: '1' })}
    ), message AS (${queueMessage(input, { from: TAKEN })}
    )
    INSERT INTO auth_request_state
      (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at, metadata,
       last_event_sequence, last_event_id)
    SELECT auth_request_id, restaurant_id, payment_token, 'PENDING', amount_cents, currency, now(), request_metadata,
           1, event_id
    FROM ${TAKEN}`,
  many: { orderBy: ['idempotency_key', 'restaurant_id'], returning: 'RETURNING auth_request_id' },
});

/** A request that is ready to be sent. */
export interface NewRequest extends KeyRef {
  readonly authRequestId: string;
  readonly encoded: Encoded;
}

/** What became its key: taken for it, or it was used before. */
export type Taken = 'taken' | UsedKey;

/** Writes a request, unless its key is used. */
export type Take = (request: NewRequest) => Promise<Taken>;

/** Each by a statement of its own. */
export const takeAlone =
  (session: Session): Take =>
  (request) =>
    untilDecided(async () =>
      (await session.writeEncoded(AUTHORIZE, request.encoded)) === 1 ? 'taken' : await readKey(session, request),
    );

export async function authorize(
  dataSource: DataSource,
  take: Take,
  input: AuthorizeCommand,
): Promise<AuthorizeReceipt> {
  const given = validateCommand({ AuthorizeCommand }, input);
  const command = screenNew(dataSource, 'authorize', { AuthorizeCommand: given });
  const restaurantId = command.restaurantId.toLowerCase();
  const { paymentToken, amountCents, currency, idempotencyKey, metadata = {}, correlationId, causationId } = command;
  const authRequestId = newId();
  const createdAt = new Date();
  const requestFingerprint = fingerprintOf(command);
  // Here, in the trace that its message is to carry on.
  const encoded = AUTHORIZE.valuesOf({
    idempotency_key: idempotencyKey,
    restaurant_id: restaurantId,
    auth_request_id: authRequestId,
    request_fingerprint: requestFingerprint,
    payment_token: paymentToken,
    amount_cents: amountCents,
    currency,
    request_metadata: metadata,
    event_id: newId(),
    event: {
      authRequestId,
      paymentToken,
      restaurantId,
      amountCents,
      currency,
      metadata: asTexts(metadata),
      createdAt,
    },
    event_metadata: { correlationId, causationId, idempotency_key: idempotencyKey },
    message: { authRequestId, restaurantId, createdAt },
    headers: command.headers,
  });
  const key = await take({ idempotencyKey, restaurantId, authRequestId, encoded });
  if (key === 'taken') return { authRequestId, status: 'PENDING', lastEventSequence: 1, replayed: false };
  const isSame = key.stoodFor('authorize', requestFingerprint) || stoodForOther(key, given, command);
  if (!isSame) throw new IdempotencyKeyReuseError(key.authRequestId);
  const { authRequestId: first, lastEventSequence } = key;
  return { authRequestId: first, status: key.status as AuthRequestStatus | null, lastEventSequence, replayed: true };
}

/**
 * Of what is recorded: beside the masked number, a hash of the whole one would tell the digits between.
 */
const fingerprintOf = ({
  restaurantId,
  paymentToken,
  amountCents,
  currency,
  metadata = {},
}: AuthorizeCommand): Buffer =>
  fingerprint('authorize', restaurantId.toLowerCase(), paymentToken, amountCents, currency, metadata);

/** Whether it is the same as it was, or would have been, recorded by a process that has masking set otherwise. */
function stoodForOther(key: UsedKey, given: AuthorizeCommand, recorded: AuthorizeCommand): boolean {
  const other = recorded === given ? maskCommand(given) : given;
  return other !== recorded && key.stoodFor('authorize', fingerprintOf(other));
}

/** Events carry metadata as text: a string as it is, anything else as JSON. */
function asTexts(metadata: Record<string, unknown>): Record<string, string> {
  const entries = Object.entries(metadata);
  if (entries.every(([, value]) => typeof value === 'string')) return metadata as Record<string, string>;
  return Object.fromEntries(
    entries.map(([key, value]) => [key, typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null')]),
  );
}
