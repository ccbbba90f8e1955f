import { validate } from 'class-validator';
import { randomUUID } from 'node:crypto';
import { AuthIdempotencyKey } from '../../src/entities/auth-idempotency-key.entity';
import { AuthProcessingLock } from '../../src/entities/auth-processing-lock.entity';
import { AuthRequestState } from '../../src/entities/auth-request-state.entity';
import { OutboxMessage } from '../../src/entities/outbox-message.entity';
import { PaymentEvent } from '../../src/entities/payment-event.entity';
import { DataKey } from '../../src/entities/data-key.entity';
import { PaymentProcessor } from '../../src/entities/payment-processor.entity';
import { RestaurantPaymentConfig } from '../../src/entities/restaurant-payment-config.entity';
import { DEVELOPMENT_RESTAURANT_ID } from '../../src/seeds';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

type Row = Record<string, unknown>;
interface EntityRules {
  Entity: new () => object;
  correct: () => Row;
  /** Each breaks one rule. */
  wrong: Row[];
  /** Each is at the edge of one. */
  alsoCorrect: Row[];
}

const [EARLIER, LATER] = [new Date('2026-01-01'), new Date('2026-01-02')];
const id = () => randomUUID();
const CLOSED = { type: 'object', additionalProperties: false, properties: {} };
const NOT_A_UUID = 'c4eb2fe1-e4ef-4a05-a2fa-eeadf6cc9cfg';
const discarded = { processedAt: LATER, discardedAt: LATER, discardedBy: 'jo', discardReason: 'a test' };

const RULES: EntityRules[] = [
  {
    Entity: PaymentEvent,
    correct: () => ({
      aggregateId: id(),
      aggregateType: 'auth_request',
      eventType: 'AuthRequestCreated',
      eventData: Buffer.of(1),
      sequenceNumber: 1,
      restaurantId: id(),
    }),
    wrong: [
      ...missing('aggregateId', 'aggregateType', 'eventType', 'eventData', 'sequenceNumber', 'restaurantId'),
      ...nulls('eventId', 'metadata', 'createdAt'),
      { eventId: NOT_A_UUID },
      { aggregateId: NOT_A_UUID },
      { aggregateType: 'x'.repeat(51) },
      { eventType: 'x'.repeat(101) },
      { sequenceNumber: 0 },
      { sequenceNumber: 1.5 },
    ],
    alsoCorrect: [
      { eventData: Buffer.of() },
      { metadata: {} },
      { eventType: '🍕'.repeat(100) },
      { restaurantId: DEVELOPMENT_RESTAURANT_ID },
    ],
  },
  {
    Entity: AuthRequestState,
    correct: () => ({
      authRequestId: id(),
      restaurantId: id(),
      paymentToken: 'tok',
      status: 'AUTHORIZED',
      amountCents: 1050,
      currency: 'USD',
      processorAuthId: 'pi_1',
      authorizedAmountCents: 1050,
      createdAt: EARLIER,
      completedAt: LATER,
    }),
    wrong: [
      ...missing('authRequestId', 'restaurantId', 'paymentToken', 'status', 'amountCents', 'currency', 'createdAt'),
      ...missing('processorAuthId', 'authorizedAmountCents', 'completedAt'),
      ...nulls('lastEventSequence', 'attemptOpen', 'attemptUnanswered', 'unansweredVersions', 'retryCount'),
      { paymentToken: 'x'.repeat(65) },
      { status: 'REFUNDED' },
      { status: 'VOIDED', completedAt: null },
      { amountCents: 0, authorizedAmountCents: null, status: 'PENDING' },
      { amountCents: -1, authorizedAmountCents: null, status: 'PENDING' },
      { amountCents: 2 ** 53 },
      { currency: 'usd' },
      { currency: 'US' },
      { currency: 'USDT' },
      { authorizedAmountCents: 1051 },
      { authorizedAmountCents: 0 },
      { status: 'DENIED', authorizedAmountCents: 1051 },
      { processorAuthId: 'x'.repeat(256) },
      { processorName: 'x'.repeat(51) },
      { attemptVersion: 'x'.repeat(51) },
      { authorizationCode: 'x'.repeat(101) },
      { denialCode: 'x'.repeat(51) },
      { lastEventId: NOT_A_UUID },
      { lastEventSequence: 1.5 },
    ],
    alsoCorrect: [
      { amountCents: Number.MAX_SAFE_INTEGER },
      { authorizedAmountCents: 1 },
      { status: 'PENDING', processorAuthId: null, authorizedAmountCents: null, completedAt: null },
      { status: 'DENIED', processorAuthId: null, authorizedAmountCents: null, authorizationCode: '' },
      { metadata: null },
      { lastEventSequence: 0, retryCount: 0, attemptOpen: false },
      { attemptOpen: true, attemptUnanswered: true, attempt: 2, attemptVersion: '', unansweredSince: EARLIER },
      { restaurantId: DEVELOPMENT_RESTAURANT_ID },
    ],
  },
  {
    Entity: OutboxMessage,
    correct: () => ({ aggregateId: id(), messageType: 'm', payload: Buffer.of(1), restaurantId: id() }),
    wrong: [
      ...missing('aggregateId', 'messageType', 'payload', 'restaurantId'),
      ...nulls('headers', 'attempts', 'createdAt'),
      { messageType: 'x'.repeat(101) },
      { ...discarded, processedAt: null },
      { ...discarded, discardedBy: null },
      { ...discarded, discardReason: null },
      { ...discarded, discardedBy: 'x'.repeat(256) },
    ],
    alsoCorrect: [discarded, { processedAt: LATER }, { failedAt: LATER, lastError: '', attempts: 10 }],
  },
  {
    Entity: AuthIdempotencyKey,
    correct: () => ({ idempotencyKey: id(), restaurantId: id(), authRequestId: id() }),
    wrong: [
      ...missing('idempotencyKey', 'restaurantId', 'authRequestId'),
      ...nulls('createdAt', 'expiresAt', 'operation'),
      { idempotencyKey: '' },
      { idempotencyKey: 'x'.repeat(256) },
      { createdAt: LATER, expiresAt: EARLIER },
      { createdAt: LATER, expiresAt: LATER },
      { operation: '' },
      { operation: 'x'.repeat(21) },
      { outcome: 'x'.repeat(21) },
      { requestFingerprint: Buffer.alloc(31) },
      { requestFingerprint: Buffer.alloc(0) },
    ],
    alsoCorrect: [{ idempotencyKey: '🍕'.repeat(255) }, { requestFingerprint: Buffer.alloc(32) }, { operation: 'x' }],
  },
  {
    Entity: RestaurantPaymentConfig,
    correct: () => ({ restaurantId: id(), configVersion: 'v1', processorName: 'stripe', processorConfig: {} }),
    wrong: [
      ...missing('restaurantId', 'configVersion', 'processorName', 'processorConfig'),
      ...nulls('isActive', 'createdAt'),
      { configVersion: 'x'.repeat(51) },
      { processorName: 'x'.repeat(51) },
      { processorName: '' },
      { processorConfig: [] },
      { switchedOffBy: 'x'.repeat(256), isActive: false },
      { copyOf: 'x'.repeat(51) },
      { dataKeyId: NOT_A_UUID },
      { createdBy: 'x'.repeat(256) },
    ],
    alsoCorrect: [{ processorName: 'mock' }, { isActive: false }, { restaurantId: DEVELOPMENT_RESTAURANT_ID }],
  },
  {
    Entity: PaymentProcessor,
    correct: () => ({ processorName: `p${id().slice(0, 8)}`, secretFields: ['pin'], settingsSchema: CLOSED }),
    wrong: [
      ...missing('processorName', 'secretFields', 'settingsSchema'),
      ...nulls('requiredSecretFields', 'createdAt'),
      { processorName: 'House Bank' },
      { processorName: '' },
      { processorName: 'x'.repeat(51) },
    ],
    alsoCorrect: [{ processorName: 'x'.repeat(50) }, { requiredSecretFields: ['pin'] }, { secretFields: [] }],
  },
  {
    Entity: DataKey,
    correct: () => ({ dataKeyId: id(), keyEncryptionKeyId: 'k', wrapped: Buffer.of(1) }),
    wrong: [
      ...missing('dataKeyId', 'keyEncryptionKeyId', 'wrapped'),
      ...nulls('createdAt'),
      { keyEncryptionKeyId: '' },
      { keyEncryptionKeyId: 'x'.repeat(2049) },
      { wrapped: Buffer.of() },
      { wrapped: Buffer.alloc(10_001) },
    ],
    alsoCorrect: [{ wrapped: Buffer.alloc(10_000) }, { rewrappedAt: LATER }, { keyEncryptionKeyId: 'x'.repeat(2048) }],
  },
  {
    Entity: AuthProcessingLock,
    correct: () => ({ authRequestId: id(), restaurantId: id(), workerId: 'w' }),
    wrong: [
      ...missing('authRequestId', 'restaurantId', 'workerId'),
      ...nulls('lockedAt', 'expiresAt'),
      { workerId: 'x'.repeat(256) },
      { lockedAt: LATER, expiresAt: EARLIER },
      { lockedAt: LATER, expiresAt: LATER },
    ],
    alsoCorrect: [{ lockedAt: EARLIER, expiresAt: LATER }],
  },
];

describe.each(RULES)('$Entity.name', ({ Entity, correct, wrong, alsoCorrect }) => {
  const make = (values: Row) => Object.assign(new Entity(), correct(), values);

  async function insert(values: Row): Promise<void> {
    const dataSource = await database.dataSource();
    const builder = dataSource.createQueryBuilder().insert().into(Entity).values(make(values));
    await database.query(...builder.getQueryAndParameters());
  }

  /** Who refuses a row: its class by `validate`, the database at the insert. */
  async function refusedBy(values: Row) {
    const errors = await validate(make(values));
    const inserted = await insert(values).then(
      () => true,
      () => false,
    );
    return { class: errors.length > 0, database: !inserted };
  }

  const named = (rows: Row[]) => rows.map((values) => [describeRow(values), values] as const);

  test.each(named([{}, ...alsoCorrect]))('takes a row that keeps the rules: %s', async (_name, values) => {
    expect(await refusedBy(values)).toEqual({ class: false, database: false });
  });

  test.each(named(wrong))('is refused by class and database alike: %s', async (_name, values) => {
    expect(await refusedBy(values)).toEqual({ class: true, database: true });
  });
});

function missing(...properties: string[]): Row[] {
  return [...properties.map((property) => ({ [property]: undefined })), ...nulls(...properties)];
}

function nulls(...properties: string[]): Row[] {
  return properties.map((property) => ({ [property]: null }));
}

function describeRow(values: Row): string {
  const parts = Object.entries(values).map(([property, value]) => {
    const text = value instanceof Uint8Array ? `${value.length} bytes` : String(value);
    return `${property} ${text.length > 30 ? `of ${text.length} characters` : text}`;
  });
  return parts.join(', ') || 'as it should be';
}
