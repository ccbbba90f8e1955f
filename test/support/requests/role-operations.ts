import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { type RequestRef } from '../../../src/auth-requests/queries';
import { type KeyProvider } from '../../../src/configs/key-provider';
import { RestaurantPaymentConfigs } from '../../../src/configs/restaurant-payment-configs';
import { rotateDataKeys } from '../../../src/configs/rotate-data-keys';
import { sealPlainSecrets } from '../../../src/configs/seal-plain-secrets';
import { secretsStatus } from '../../../src/configs/secrets-status';
import { DataKey } from '../../../src/entities/data-key.entity';
import { PaymentProcessor } from '../../../src/entities/payment-processor.entity';
import { RestaurantPaymentConfig } from '../../../src/entities/restaurant-payment-config.entity';
import { AuthorizationMismatchError } from '../../../src/errors';
import { readFence } from '../../../src/fence/read-fence';
import { remainderOf } from '../../../src/fence/residue';
import { removeFence, setFence } from '../../../src/fence/set-fence';
import { EventStore } from '../../../src/event-store/event-store';
import { IdempotencyKeys } from '../../../src/idempotency/idempotency-keys';
import { findByProcessorId } from '../../../src/inspection/find-by-processor-id';
import { inspectRequest } from '../../../src/inspection/inspect-request';
import { ReplicaReads } from '../../../src/replica-reads/replica-reads';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { assertNonePending, readHistory } from '../../../src/migrator/history';
import { Outbox } from '../../../src/outbox/outbox';
import { OutboxRelay } from '../../../src/outbox/outbox-relay';
import { ReadModel } from '../../../src/read-model/read-model';
import { SWEEPER_LEASE_ID, Sweeper } from '../../../src/sweeper/sweeper';
import { aConfig as aStoredConfig, insertLegacyConfig } from '../configs/config-rows';
import { aConfig, TestKeyring } from '../configs/configs';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from './auth-requests';
import { RecordingPublisher } from '../../../src/testing/recording-publisher';
import { aLostHold, aLostRequest, anUnsettledRequest } from '../sweeper/sweeping';

/** Calls a method as a user, on what another user, who may do everything, has prepared. */
type Operation = (user: DataSource, prepared: DataSource) => Promise<unknown>;

const onLease =
  (call: (requests: AuthRequests, lease: Lease) => Promise<unknown>): Operation =>
  async (user, prepared) =>
    call(new AuthRequests(user), (await aRequest(prepared, { started: true })).lease);

const onRequest =
  (call: (requests: AuthRequests, ref: RequestRef) => Promise<unknown>): Operation =>
  async (user, prepared) =>
    call(new AuthRequests(user), { restaurantId: RESTAURANT, authRequestId: (await aRequest(prepared)).authRequestId });

/** A hold that is to be voided. */
const onHold =
  (call: (holds: Holds, lease: Lease, hold: typeof HOLD) => Promise<unknown>, { failed = false } = {}): Operation =>
  async (user, prepared) => {
    const { requests, lease } = await aRequest(prepared, { started: true });
    await requests.expire({ ...lease, reason: 'r' });
    await requests.recordAuthorized(lease, anAuthorization(HOLD));
    if (failed) {
      const failure = { ...HOLD, errorCode: 'E', errorMessage: '', retryable: false };
      await new Holds(prepared).recordVoidFailure(lease, failure);
    }
    return call(new Holds(user), lease, HOLD);
  };

const HOLD = { processorName: 'stripe', processorAuthId: 'pi_of_all' };

const onLock =
  (call: (locks: ProcessingLocks, lease: Lease) => Promise<unknown>): Operation =>
  async (user, prepared) =>
    call(new ProcessingLocks(user), (await aRequest(prepared)).lease);

const onWrongRow =
  (call: (readModel: ReadModel, authRequestId: string) => Promise<unknown>): Operation =>
  async (user, prepared) => {
    const { authRequestId } = await aRequest(prepared);
    await prepared.query('UPDATE auth_request_state SET retry_count = 7 WHERE auth_request_id = $1', [authRequestId]);
    return call(new ReadModel(user), authRequestId);
  };

const aLock = (ttlMs = 60_000) => ({ restaurantId: RESTAURANT, authRequestId: uuidv4(), workerId: 'w2', ttlMs });

const aMessage = () => ({
  ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType: 'auth_request_queued' },
  payload: Buffer.from('p'),
});

/** A message that was given up. */
async function aDeadLetter(prepared: DataSource): Promise<bigint> {
  const id = await prepared.transaction((manager) => new Outbox(prepared).enqueue(manager, aMessage()));
  await prepared.query(`UPDATE outbox SET failed_at = now(), attempts = 10, last_error = 'no' WHERE id = $1`, [id]);
  return id;
}

async function expiredKey(prepared: DataSource): Promise<string> {
  const { idempotencyKey } = anAuthorizeCommand();
  await prepared.query(
    `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, created_at, expires_at)
     VALUES ($1, $2, gen_random_uuid(), now() - interval '2 days', now() - interval '1 day')`,
    [idempotencyKey, RESTAURANT],
  );
  return idempotencyKey;
}

const aRelay = (user: DataSource, refused: (error: unknown) => void = () => undefined) =>
  new OutboxRelay(user, new RecordingPublisher(), { hooks: { unavailable: refused } });

/** A sweeper that is in no hurry to leave anything alone. */
const OFTEN = {
  ...{ stuckAfterMs: 1, unsettledAfterMs: 1, voidingAfterMs: 1, purgeMessagesAfterMs: 0, maxDelayMs: 1 },
  ...{ maxSweeps: 1_000, batchSize: 10_000, expireAfterMs: 1 },
};

async function iterate(rows: AsyncIterable<unknown>): Promise<void> {
  for await (const row of rows) void row;
}

const aVoid = (ref: RequestRef) => ({
  ...ref,
  ...{ idempotencyKey: uuidv4(), reason: 'closed' },
});

const EVERY_RESTAURANT = { modulus: 1, remainder: 0 };

/** Another restaurant, of the same database as that of all others, however many there are: see test/integration/fence-operations.spec.ts. */
function anotherRestaurant(): string {
  for (;;) {
    const id = uuidv4();
    if (remainderOf(id, 2) === remainderOf(RESTAURANT, 2)) return id;
  }
}

const keyring = new TestKeyring();

const configsOf = (user: DataSource, keys: KeyProvider) => new RestaurantPaymentConfigs(user, { keys });

/** On a version with sealed secrets, which is the active one of its restaurant. */
const onConfig =
  (
    call: (configs: RestaurantPaymentConfigs, restaurantId: string, configVersion: string) => Promise<unknown>,
  ): Operation =>
  async (user, prepared) => {
    const [restaurantId, keys] = [anotherRestaurant(), await keyring.keys()];
    const { configVersion } = await configsOf(prepared, keys).activate(restaurantId, aConfig(), { by: 'kim' });
    return call(configsOf(user, keys), restaurantId, configVersion);
  };

/** Every public method, down each of its paths that needs other privileges, and what services do at their start. */
export const OPERATIONS: Record<string, Record<string, Operation>> = {
  AuthRequests: {
    authorize: async (user, prepared) => {
      const authRequests = new AuthRequests(user);
      const command = anAuthorizeCommand({ idempotencyKey: await expiredKey(prepared) });
      await authRequests.authorize(command);
      // So many at once that some travel together: that is another statement.
      await Promise.all(Array.from({ length: 20 }, () => authRequests.authorize(anAuthorizeCommand())));
      return authRequests.authorize(command);
    },
    requestVoid: onRequest(async (authRequests, ref) => {
      const command = aVoid(ref);
      await authRequests.requestVoid(command);
      return authRequests.requestVoid(command);
    }),
    attempt: async (user, prepared) => {
      const { authRequestId } = await new AuthRequests(prepared).authorize(anAuthorizeCommand());
      const command = { restaurantId: RESTAURANT, authRequestId, configVersion: 'v1', ttlMs: 60_000 };
      const failure = { errorCode: 'timeout', errorMessage: '', retryable: true, outcome: 'unknown' } as const;
      const authorized = { outcome: 'authorized', ...anAuthorization() } as const;
      const mismatching = { ...authorized, authorizedAmountCents: 2_000 };
      for (const answer of [failure, mismatching, authorized]) {
        await new AuthRequests(user)
          .attempt(command, () => Promise.resolve(answer))
          .catch((error: unknown) => {
            if (!(error instanceof AuthorizationMismatchError)) throw error;
          });
      }
      return new AuthRequests(user).attempt(command, () => Promise.resolve(authorized));
    },
    startAttempt: onLease((authRequests, lease) => authRequests.startAttempt(lease, { configVersion: 'v1' })),
    recordAuthorized: onLease(async (authRequests, lease) => {
      const command = anAuthorization();
      await authRequests.recordAuthorized(lease, command);
      return authRequests.recordAuthorized(lease, command);
    }),
    recordDenied: onLease((authRequests, lease) =>
      authRequests.recordDenied(lease, { processorName: 'stripe', denialCode: 'no', denialReason: 'funds' }),
    ),
    recordFailure: onLease((authRequests, lease) =>
      authRequests.recordFailure(lease, {
        ...{ errorCode: 'timeout', errorMessage: 'no answer', retryable: true, outcome: 'unknown' },
        nextRetryAt: new Date(),
      }),
    ),
    closeUnanswered: async (user, prepared) => {
      const { locks, lease, authRequestId } = await aRequest(prepared, { started: true });
      await locks.release(lease);
      const found = { configVersion: 'v1', by: 'ada', reason: 'not there' };
      return new AuthRequests(user).closeUnanswered({ restaurantId: RESTAURANT, authRequestId, ...found });
    },
    expire: onRequest((authRequests, ref) => authRequests.expire({ ...ref, reason: 'stale' })),
    expireStale: onRequest((authRequests) => authRequests.expireStale({ olderThanMs: 1 })),
    get: onRequest((authRequests, ref) => authRequests.get(ref)),
    waitForResult: onRequest((authRequests, ref) => authRequests.waitForResult(ref, { timeoutMs: 20 })),
    list: onRequest((authRequests) => authRequests.list({ restaurantId: RESTAURANT })),
    listStuck: onRequest((authRequests) => authRequests.listStuck({ olderThanMs: 0 })),
    listUnsettled: onRequest((authRequests) => authRequests.listUnsettled({ olderThanMs: 0 })),
  },
  ReplicaReads: {
    get: (user) => new ReplicaReads(user, user).get({ restaurantId: RESTAURANT, authRequestId: uuidv4() }),
    list: (user) => new ReplicaReads(user, user).list({ restaurantId: RESTAURANT }),
  },
  Holds: {
    report: onHold(async (holds, { authRequestId }, hold) => {
      const report = { ...hold, authRequestId, source: 's' };
      await holds.report({ ...report, told: 'captured', sourceEventId: '1' });
      return holds.report({
        ...report,
        processorAuthId: 'pi_new',
        told: 'authorized',
        amountCents: 1,
        sourceEventId: '2',
      });
    }),
    attemptVoid: async (user, prepared) => {
      const failed = { errorCode: 'E', errorMessage: '', retryable: true };
      const answers = [{ outcome: 'failed', ...failed }, { outcome: 'voided' }, { outcome: 'captured' }] as const;
      for (const answer of answers) {
        await onHold(async (_, lease, hold) => {
          await new ProcessingLocks(prepared).release(lease);
          const { restaurantId, authRequestId } = lease;
          const command = { restaurantId, authRequestId, ...hold, ttlMs: 60_000 };
          await new Holds(user).attemptVoid(command, () => Promise.resolve(answer));
          await new Holds(user).attemptVoid(command, () => Promise.resolve(answer));
        })(user, prepared);
      }
    },
    toVoid: onHold((holds, lease, hold) => holds.toVoid(lease, hold)),
    recordVoided: onHold(async (holds, lease, hold) => {
      await holds.recordVoided(lease, hold);
      return holds.recordVoided(lease, hold);
    }),
    recordVoidFailure: onHold((holds, lease, hold) =>
      holds.recordVoidFailure(lease, { ...hold, errorCode: 'E', errorMessage: '', retryable: true }),
    ),
    requeueVoid: onHold((holds, lease, hold) => holds.requeueVoid({ ...lease, ...hold, by: 'ada', reason: 'r' }), {
      failed: true,
    }),
    recordEnd: onHold((holds, lease, hold) =>
      holds.recordEnd({ ...lease, ...hold, end: 'voided', by: 'ada', reason: 'r' }),
    ),
    list: (user) => new Holds(user).list(),
    totals: (user) => new Holds(user).totals(),
    stats: (user) => new Holds(user).stats(),
  },
  IdempotencyKeys: {
    claim: async (user, prepared) => {
      const keys = new IdempotencyKeys(user);
      const idempotencyKey = await expiredKey(prepared);
      const command = {
        restaurantId: RESTAURANT,
        idempotencyKey,
        operation: 'refund',
        authRequestId: uuidv4(),
        request: {},
      };
      await user.transaction((manager) => keys.claim(command, manager));
      return user.transaction((manager) => keys.claim(command, manager));
    },
    purgeExpired: async (user, prepared) => {
      await expiredKey(prepared);
      return new IdempotencyKeys(user).purgeExpired();
    },
  },
  ProcessingLocks: {
    acquire: async (user, prepared) => {
      const lock = aLock();
      await prepared.query(
        `INSERT INTO auth_processing_locks (auth_request_id, restaurant_id, worker_id, locked_at, expires_at)
         VALUES ($1, $2, 'w1', now() - interval '2 minutes', now() - interval '1 minute')`,
        [lock.authRequestId, RESTAURANT],
      );
      await new ProcessingLocks(user).acquire(lock);
      return new ProcessingLocks(user).acquire(aLock());
    },
    renew: onLock((locks, lease) => locks.renew(lease, 60_000)),
    release: onLock((locks, lease) => locks.release(lease)),
    withLock: (user) => new ProcessingLocks(user).withLock(aLock(), () => Promise.resolve()),
    purgeExpired: (user) => new ProcessingLocks(user).purgeExpired(),
  },
  EventStore: {
    append: async (user) => {
      const [store, authRequestId] = [new EventStore(user), uuidv4()];
      const event = {
        type: 'AuthVoidRequested',
        data: { authRequestId, reason: 'r', requestedAt: new Date() },
      } as const;
      const events = [{ ...event, eventId: uuidv4() }, event];
      await store.append({ authRequestId, restaurantId: RESTAURANT }, 0, events);
      return store.append({ authRequestId, restaurantId: RESTAURANT }, 0, events.slice(0, 1));
    },
    readStream: (user) => new EventStore(user).readStream({ authRequestId: uuidv4(), restaurantId: RESTAURANT }),
    iterate: (user) => iterate(new EventStore(user).iterate({ authRequestId: uuidv4(), restaurantId: RESTAURANT })),
  },
  Outbox: {
    enqueue: (user) =>
      user.transaction((manager) => new Outbox(user).enqueue(manager, { ...aMessage(), lockAggregate: true })),
    requeue: async (user, prepared) => new Outbox(user).requeue(await aDeadLetter(prepared)),
    requeueAll: (user) => new Outbox(user).requeueAll(),
    discard: async (user, prepared) =>
      new Outbox(user).discard(await aDeadLetter(prepared), { by: 'ada', reason: 'r' }),
    listFailed: (user) => new Outbox(user).listFailed(),
    stats: (user) => new Outbox(user).stats(),
    purgeProcessed: async (user, prepared) => {
      await prepared.query(`UPDATE outbox SET processed_at = now() - interval '1 day' WHERE id = $1`, [
        await aDeadLetter(prepared),
      ]);
      return new Outbox(user).purgeProcessed({ olderThanMs: 1 });
    },
  },
  OutboxRelay: {
    start: async (user, prepared) => {
      await prepared.transaction((manager) => new Outbox(prepared).enqueue(manager, aMessage()));
      let refusal: unknown;
      const relay = aRelay(user, (error) => (refusal = error));
      relay.start();
      await relay.stop();
      if (refusal) throw refusal as Error;
    },
    runOnce: async (user, prepared) => {
      const id = await prepared.transaction((manager) => new Outbox(prepared).enqueue(manager, aMessage()));
      await aRelay(user).runOnce();
      await prepared.query(`UPDATE outbox SET processed_at = NULL WHERE id = $1`, [id]);
      const refusing = new RecordingPublisher();
      refusing.answer = () => ({ published: false, reason: 'no' });
      return new OutboxRelay(user, refusing).runOnce();
    },
  },
  Sweeper: {
    start: async (user, prepared) => {
      await prepared.query('DELETE FROM auth_processing_locks WHERE auth_request_id = $1', [SWEEPER_LEASE_ID]);
      let stop = () => Promise.resolve();
      await new Promise<void>((resolve, reject) => {
        const hooks = { unavailable: reject, swept: () => resolve() };
        const sweeper = new Sweeper(user, { ...OFTEN, hooks });
        sweeper.start();
        stop = () => sweeper.stop();
      }).finally(() => stop());
    },
    runOnce: async (user, prepared) => {
      const authRequestId = await aLostRequest(prepared);
      await anUnsettledRequest(prepared);
      await aLostHold(prepared);
      await aLostHold(prepared, { state: 'held' });
      const { processorAuthId } = await aLostHold(prepared);
      await prepared.query('UPDATE auth_holds SET sweeps = 1000 WHERE processor_auth_id = $1', [processorAuthId]);
      await prepared.query('UPDATE outbox SET processed_at = NULL, failed_at = now() WHERE aggregate_id = $1', [
        (await aRequest(prepared)).authRequestId,
      ]);
      await expiredKey(prepared);
      await prepared.query(
        `INSERT INTO auth_processing_locks (auth_request_id, restaurant_id, worker_id, locked_at, expires_at)
         SELECT id, $2, 'w1', now() - interval '2 minutes', now() - interval '1 minute'
         FROM unnest(ARRAY[gen_random_uuid(), $1::uuid]) AS id
         ON CONFLICT (auth_request_id) DO UPDATE SET locked_at = excluded.locked_at, expires_at = excluded.expires_at`,
        [SWEEPER_LEASE_ID, RESTAURANT],
      );
      const sweeper = new Sweeper(user, OFTEN);
      await sweeper.runOnce({ dryRun: true });
      await delay(2);
      const { stuck, voiding, messages } = await sweeper.runOnce();
      if (
        !stuck!.sent.some((one) => one.authRequestId === authRequestId) ||
        voiding!.givenUp.length === 0 ||
        !messages
      ) {
        throw new Error('The sweeper found nothing to do.');
      }
    },
  },
  ReadModel: {
    verify: (user) => iterate(new ReadModel(user).verify()),
    sharedHolds: (user) => iterate(new ReadModel(user).sharedHolds()),
    previewRebuild: onWrongRow((readModel, authRequestId) => readModel.previewRebuild(authRequestId)),
    rebuild: onWrongRow((readModel, authRequestId) => readModel.rebuild(authRequestId)),
  },
  RestaurantPaymentConfigs: {
    activate: onConfig((configs, restaurantId) => configs.activate(restaurantId, aConfig(), { by: 'kim' })),
    rollback: onConfig((configs, restaurantId, version) => configs.rollback(restaurantId, version, { by: 'kim' })),
    deactivate: onConfig((configs, restaurantId) => configs.deactivate(restaurantId, { by: 'kim' })),
    getActive: onConfig((configs, restaurantId) => configs.getActive(restaurantId)),
    getVersion: onConfig((configs, restaurantId, version) => configs.getVersion(restaurantId, version)),
    history: onConfig((configs, restaurantId) => configs.history(restaurantId)),
  },
  entities: {
    RestaurantPaymentConfig: (user) =>
      user.getRepository(RestaurantPaymentConfig).findOneBy({ restaurantId: RESTAURANT, isActive: true }),
    PaymentProcessor: (user) => user.getRepository(PaymentProcessor).find(),
    DataKey: (user) => user.getRepository(DataKey).find(),
  },
  functions: {
    inspectRequest: async (user, prepared) => inspectRequest(user, (await aRequest(prepared)).authRequestId),
    findByProcessorId: (user) => findByProcessorId(user, 'pi_of_nobody'),
    sealPlainSecrets: async (user, prepared) => {
      await insertLegacyConfig(
        prepared,
        aStoredConfig({ restaurant_id: anotherRestaurant(), processor_config: { api_key: 'sk_test' } }),
      );
      return sealPlainSecrets(user, await keyring.keys());
    },
    rotateDataKeys: async (user, prepared) => {
      await configsOf(prepared, await keyring.keys()).activate(anotherRestaurant(), aConfig(), { by: 'kim' });
      await keyring.add(uuidv4());
      return rotateDataKeys(user, await keyring.keys());
    },
    secretsStatus: (user) => secretsStatus(user),
    readFence: (user) => readFence(user),
    setFence: async (user, prepared) => {
      await removeFence(prepared);
      return setFence(user, EVERY_RESTAURANT);
    },
    removeFence: async (user, prepared) => {
      await setFence(prepared, EVERY_RESTAURANT);
      return removeFence(user);
    },
    assertNonePending: async (user) => assertNonePending(await readHistory(user)),
  },
};
