import { randomUUID } from 'node:crypto';
import { type DeepPartial, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { AuthHold } from '../../src/entities/auth-hold.entity';
import { AuthIdempotencyKey } from '../../src/entities/auth-idempotency-key.entity';
import { AuthProcessingLock } from '../../src/entities/auth-processing-lock.entity';
import { AuthRequestState } from '../../src/entities/auth-request-state.entity';
import { OutboxMessage } from '../../src/entities/outbox-message.entity';
import { PaymentEvent } from '../../src/entities/payment-event.entity';
import { DataKey } from '../../src/entities/data-key.entity';
import { PaymentProcessor } from '../../src/entities/payment-processor.entity';
import { RestaurantPaymentConfig } from '../../src/entities/restaurant-payment-config.entity';
import { sealedUnder } from '../support/configs/config-rows';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

/** Above 2^53, where a number would be rounded. */
const FAR_POSITION = 9_007_199_254_740_993n;
/** To the millisecond, as far as a Date goes, and half a year from the other one, so on the other side of a clock change. */
const [WINTER, SUMMER] = [new Date('2026-01-15T10:20:30.456Z'), new Date('2026-07-15T23:59:59.999Z')];
const DAY_MS = 86_400_000;
const [request, restaurant] = [randomUUID(), randomUUID()];

async function writeAndRead<T extends ObjectLiteral>(entity: EntityTarget<T>, row: DeepPartial<T>): Promise<T> {
  const repository = (await database.dataSource()).getRepository(entity);
  const { identifiers } = await repository.insert({ ...row } as Parameters<typeof repository.insert>[0]);
  return repository.findOneByOrFail(identifiers[0] as never);
}

const anyRecentDate = () => expect.any(Date) as Date;
/** The guard of new versions asks the clock itself. */
const ITS_TIMES = { createdAt: anyRecentDate(), updatedAt: anyRecentDate() };

describe('a row that is written and read back has equal values, of the right types', () => {
  test('PaymentEvent', async () => {
    const row = {
      id: FAR_POSITION,
      eventId: randomUUID(),
      aggregateId: request,
      aggregateType: 'auth_request',
      eventType: 'AuthRequestCreated',
      eventData: Buffer.from([0, 255, 0x5c, 0x27]),
      metadata: { correlationId: 'c', nested: [1, null, 'x'] },
      createdAt: SUMMER,
      sequenceNumber: 1,
      restaurantId: restaurant,
    };
    expect(await writeAndRead(PaymentEvent, row)).toEqual(row);
  });

  test('PaymentEvent, its metadata JSON text in a JSON string, as legacy workers wrote it', async () => {
    const { metadata } = await writeAndRead(PaymentEvent, {
      aggregateId: randomUUID(),
      aggregateType: 'auth_request',
      eventType: 'AuthRequestCreated',
      eventData: Buffer.of(),
      metadata: '{"worker": "w"}',
      sequenceNumber: 1,
      restaurantId: restaurant,
    });
    expect(metadata).toBe('{"worker": "w"}');
  });

  test('AuthRequestState', async () => {
    const row = {
      authRequestId: request,
      restaurantId: restaurant,
      paymentToken: 'tok',
      status: 'AUTHORIZED' as const,
      amountCents: Number.MAX_SAFE_INTEGER,
      currency: 'JPY',
      processorAuthId: 'pi_1',
      processorName: 'stripe',
      authorizedAmountCents: Number.MAX_SAFE_INTEGER,
      authorizationCode: '',
      denialCode: null,
      denialReason: null,
      createdAt: WINTER,
      completedAt: SUMMER,
      metadata: { table: '十二番' },
      lastEventSequence: 3,
      lastEventId: randomUUID(),
      attemptOpen: true,
      attempt: 3,
      attemptVersion: 'v1',
      attemptToken: 2n ** 62n - 1n,
      attemptUnanswered: true,
      unansweredVersions: ['', 'v2'],
      unansweredSince: WINTER,
      retryCount: 2,
      sweeps: 1,
      sweptAt: WINTER,
    };
    expect(await writeAndRead(AuthRequestState, row)).toEqual({ ...row, updatedAt: anyRecentDate() });
  });

  test('OutboxMessage', async () => {
    const row = {
      id: FAR_POSITION,
      aggregateId: request,
      messageType: 'auth_request_queued',
      payload: Buffer.from([0, 1, 254]),
      createdAt: WINTER,
      processedAt: SUMMER,
      restaurantId: restaurant,
      headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      attempts: 3,
      nextAttemptAt: SUMMER,
      lastError: 'refused',
      failedAt: SUMMER,
      discardedAt: SUMMER,
      discardedBy: 'jo',
      discardReason: 'a test',
    };
    expect(await writeAndRead(OutboxMessage, row)).toEqual(row);
  });

  test('AuthIdempotencyKey', async () => {
    const row = {
      idempotencyKey: `key 🍕 ${randomUUID()}`,
      restaurantId: restaurant,
      authRequestId: request,
      createdAt: WINTER,
      expiresAt: SUMMER,
      operation: 'void',
      outcome: 'queued',
      requestFingerprint: Buffer.alloc(32, 7),
    };
    expect(await writeAndRead(AuthIdempotencyKey, row)).toEqual(row);
  });

  test('RestaurantPaymentConfig', async () => {
    const row = {
      restaurantId: restaurant,
      configVersion: 'v1',
      processorName: 'stripe',
      processorConfig: { statement_descriptor: 'TRATTORIA ZOË', timeout_seconds: 2.5 },
      isActive: true,
      createdBy: 'jo',
      ...{ sealedSecrets: null, sealedFields: null, dataKeyId: null, switchedOffBy: null, copyOf: null },
    };
    expect(await writeAndRead(RestaurantPaymentConfig, row)).toEqual({ ...row, ...ITS_TIMES });
  });

  test('PaymentProcessor', async () => {
    const row = {
      processorName: 'house_bank',
      secretFields: ['pin', 'tan'],
      requiredSecretFields: ['pin'],
      settingsSchema: { type: 'object', additionalProperties: false, properties: { branch: { type: 'string' } } },
      createdAt: WINTER,
    };
    expect(await writeAndRead(PaymentProcessor, row)).toEqual(row);
  });

  test('DataKey, and a RestaurantPaymentConfig whose secrets are sealed under it', async () => {
    const key = {
      ...{ dataKeyId: randomUUID(), keyEncryptionKeyId: 'arn:aws:kms:key/1', wrapped: Buffer.alloc(10_000, 7) },
      ...{ createdAt: WINTER, rewrappedAt: SUMMER },
    };
    expect(await writeAndRead(DataKey, key)).toEqual(key);
    const config = {
      ...{ restaurantId: randomUUID(), configVersion: 'v1', processorName: 'stripe', processorConfig: {} },
      ...{ isActive: false, createdBy: 'jo', switchedOffBy: 'ada', copyOf: null },
      ...{ sealedSecrets: sealedUnder(key.dataKeyId), sealedFields: ['api_key'], dataKeyId: key.dataKeyId },
    };
    expect(await writeAndRead(RestaurantPaymentConfig, config)).toEqual({ ...config, ...ITS_TIMES });
    const copy = { ...config, configVersion: 'v2', copyOf: 'v1' };
    expect(await writeAndRead(RestaurantPaymentConfig, copy)).toEqual({ ...copy, ...ITS_TIMES });
  });

  test('AuthProcessingLock', async () => {
    const row = {
      authRequestId: request,
      workerId: 'worker',
      lockedAt: WINTER,
      expiresAt: SUMMER,
      restaurantId: restaurant,
      fencingToken: FAR_POSITION,
    };
    expect(await writeAndRead(AuthProcessingLock, row)).toEqual(row);
  });
});

test('AuthHold is written beside its event, and reads back equal', async () => {
  const [authRequestId, restaurantId] = [randomUUID(), restaurant];
  const hold = {
    ...{ authRequestId, restaurantId, processorName: 'stripe', processorAuthId: 'pi_1', currency: 'JPY' },
    ...{ amountCents: Number.MAX_SAFE_INTEGER, configVersion: 'v1', authorizedAt: WINTER, holdExpiresAt: SUMMER },
    ...{ state: 'void_failed' as const, stateSince: WINTER, isNeeded: false, isAnswered: true },
    ...{ endedAmountCents: 1, endedBy: 'stripe', closedBy: 'jo', voidFailures: 2, lastVoidError: 'E' },
    ...{ nextVoidAt: SUMMER, sweeps: 3, sweptAt: WINTER, firstEventSequence: 1, lastEventSequence: 1 },
  };
  await expect(writeAndRead(AuthHold, hold)).rejects.toThrow('auth_holds_last_event_fkey');
  await writeAndRead(PaymentEvent, {
    ...{ aggregateId: authRequestId, aggregateType: 'auth_request', eventType: 'AuthHoldReported' },
    ...{ eventData: Buffer.of(), sequenceNumber: 1, restaurantId },
  });
  expect(await writeAndRead(AuthHold, hold)).toEqual(hold);
});

describe('what is not given is filled in', () => {
  test('PaymentEvent', async () => {
    const given = {
      aggregateId: randomUUID(),
      aggregateType: 'auth_request',
      eventType: 'AuthRequestCreated',
      eventData: Buffer.of(1),
      sequenceNumber: 1,
      restaurantId: restaurant,
    };
    const row = await writeAndRead(PaymentEvent, given);
    const filled = {
      eventId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      metadata: {},
      createdAt: anyRecentDate(),
    };
    expect(row).toEqual({ ...given, ...filled, id: row.id });
    expect(typeof row.id).toBe('bigint');
  });

  test('OutboxMessage', async () => {
    const given = { aggregateId: request, messageType: 'm', payload: Buffer.of(1), restaurantId: restaurant };
    const row = await writeAndRead(OutboxMessage, given);
    const nothing = { processedAt: null, nextAttemptAt: null, lastError: null, failedAt: null };
    const notDiscarded = { discardedAt: null, discardedBy: null, discardReason: null };
    expect(row).toEqual({
      ...given,
      ...nothing,
      ...notDiscarded,
      id: row.id,
      createdAt: anyRecentDate(),
      headers: {},
      attempts: 0,
    });
    expect(typeof row.id).toBe('bigint');
  });

  test('AuthIdempotencyKey lives for a day, AuthProcessingLock for half a minute', async () => {
    const key = await writeAndRead(AuthIdempotencyKey, {
      idempotencyKey: randomUUID(),
      restaurantId: restaurant,
      authRequestId: request,
    });
    expect(key).toMatchObject({ operation: 'authorize', outcome: null, requestFingerprint: null });
    expect(key.expiresAt.valueOf() - key.createdAt.valueOf()).toBe(DAY_MS);
    const lock = await writeAndRead(AuthProcessingLock, {
      authRequestId: randomUUID(),
      restaurantId: restaurant,
      workerId: 'w',
    });
    expect(lock.expiresAt.valueOf() - lock.lockedAt.valueOf()).toBe(30_000);
    expect(typeof lock.fencingToken).toBe('bigint');
  });
});

test('a position that the database gave is a bigint in what save returns', async () => {
  const repository = (await database.dataSource()).getRepository(OutboxMessage);
  const message = { aggregateId: request, messageType: 'm', payload: Buffer.of(1), restaurantId: restaurant };
  expect(typeof (await repository.save(message as OutboxMessage)).id).toBe('bigint');
});

describe('an amount is exact or an error', () => {
  const given = () => ({
    authRequestId: randomUUID(),
    restaurantId: restaurant,
    paymentToken: 't',
    status: 'PENDING' as const,
    amountCents: 1,
    currency: 'USD',
    createdAt: WINTER,
  });

  test.each([2 ** 53, -(2 ** 53), 10.5, NaN, Infinity, '100', 100n])(
    '%p is refused when it is written',
    async (amount) => {
      const repository = (await database.dataSource()).getRepository(AuthRequestState);
      const row = { ...given(), amountCents: amount as number };
      await expect(repository.insert(row)).rejects.toThrow(RangeError);
      await expect(repository.findBy({ amountCents: amount as number })).rejects.toThrow(RangeError);
    },
  );

  test.each(['amount_cents', 'authorized_amount_cents'])('%s above 2^53 is refused when it is read', async (column) => {
    const repository = (await database.dataSource()).getRepository(AuthRequestState);
    const row = { ...given(), amountCents: Number.MAX_SAFE_INTEGER };
    await database.query(
      `INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency,
         created_at, authorized_amount_cents)
       VALUES ($1, $2, 't', 'PENDING', ${FAR_POSITION}, 'USD', now(), $3)`,
      [row.authRequestId, restaurant, column === 'amount_cents' ? 1 : FAR_POSITION],
    );
    const property = column === 'amount_cents' ? 'amountCents' : 'authorizedAmountCents';
    const read = repository.findOne({
      select: { authRequestId: true, [property]: true },
      where: { authRequestId: row.authRequestId },
    });
    await expect(read).rejects.toThrow(RangeError);
  });
});
