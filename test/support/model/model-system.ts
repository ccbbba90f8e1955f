import { type EntityManager } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type AuthorizeCommand, type AuthorizeReceipt } from '../../../src/auth-requests/authorize';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { PaymentEventsDbError } from '../../../src/errors';
import { type StoredEvent } from '../../../src/event-store/event-store';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { anAuthorization } from '../requests/auth-requests';
import { authorizeInCompany, type Company } from '../requests/together';
import { type Call, type Label } from './model';
import { CENTS_OF, type Key } from './model-operations';
import { type RequestRecord, requireSound } from '../requests/sound-requests';
import { type DatabaseOfFile } from '../database/use-test-database';

/** Gives an answer in the model's words, and takes note of the request or lease that it brought. May be called again. */
type Answer = () => unknown;

/** The operations on a real database, for a restaurant of its own, under the names that the model has for things. */
export class System {
  readonly #restaurantId = uuidv4();
  readonly #ids = new Map<Label, string>();
  readonly #leases = new Map<string, Lease>();
  readonly #requests: AuthRequests;
  readonly #locks: ProcessingLocks;
  readonly #holds: Holds;

  constructor(
    readonly database: DatabaseOfFile,
    readonly dataSource: PaymentEventsDataSource,
    /** With whom each call of `authorize` travels, unless it is part of a transaction. Default: it goes alone. */
    readonly company?: Company,
  ) {
    this.#requests = new AuthRequests(dataSource);
    this.#locks = new ProcessingLocks(dataSource);
    this.#holds = new Holds(dataSource);
  }

  /** Sends it and gives the answer in the model's words. */
  async perform(call: Call): Promise<unknown> {
    return (await this.send(call))();
  }

  /** Sends it. The answer is not to be called for what was rolled back. */
  async send(call: Call, manager?: EntityManager): Promise<Answer> {
    try {
      return await this.#send(call, manager);
    } catch (error) {
      if (error instanceof PaymentEventsDbError) return () => error.code;
      throw error;
    }
  }

  async #send({ operation, label }: Call, manager?: EntityManager): Promise<Answer> {
    const restaurantId = this.#restaurantId;
    const authRequestId = this.#ids.get(label)!;
    const holder = 'worker' in operation ? `${operation.worker} ${label}` : '';
    const lease = this.#leases.get(holder)!;
    const hold = 'hold' in operation ? operation.hold : '';
    const ofHold = { processorName: 'stripe', processorAuthId: hold };
    const person = { restaurantId, authRequestId, ...ofHold, reason: 'by hand' };
    switch (operation.does) {
      case 'authorize': {
        const { key: idempotencyKey, cents: amountCents } = operation;
        const command = { restaurantId, paymentToken: 't', amountCents, currency: 'USD', idempotencyKey };
        const { authRequestId: id, status, replayed } = await this.#authorize(command, manager);
        return () => {
          if (!replayed && !this.#labelOf(id)) this.#ids.set(this.#nextLabel(operation.key), id);
          return { request: this.#labelOf(id), status, replayed };
        };
      }
      case 'void': {
        const { key: idempotencyKey, reason } = operation;
        const command = { restaurantId, authRequestId, idempotencyKey, reason };
        const { status, outcome, replayed } = await this.#requests.requestVoid(command, manager);
        return () => ({ status, outcome, replayed });
      }
      case 'expire':
        await this.#requests.expire({ restaurantId, authRequestId, reason: 'late' }, manager);
        return () => 'done';
      case 'expire all': {
        await this.database.query('SELECT pg_sleep(0.002)');
        const expired = await this.#requests.expireStale({ olderThanMs: 1 });
        const mine = expired.map((id) => this.#labelOf(id)).filter((name) => name !== undefined);
        return () => mine.sort();
      }
      case 'acquire': {
        const command = { restaurantId, authRequestId, workerId: operation.worker, ttlMs: 3_600_000 };
        const acquired = await this.#locks.acquire(command, manager);
        return () => {
          if (acquired) this.#leases.set(holder, acquired);
          return acquired !== null;
        };
      }
      case 'renew':
        await this.#locks.renew(lease, 3_600_000, manager);
        return () => 'done';
      case 'release': {
        const released = await this.#locks.release(lease, manager);
        return () => released;
      }
      case 'start': {
        const { version: configVersion, beside: besideUnanswered } = operation;
        const attempt = await this.#requests.startAttempt(lease, { configVersion, besideUnanswered });
        const { outcome, status } = attempt;
        if (outcome === 'nothing_to_do') return () => ({ outcome, status });
        return () => ({ outcome, status, retries: attempt.retryCount, version: attempt.configVersion });
      }
      case 'authorized': {
        const answer = anAuthorization({
          processorAuthId: operation.answer,
          authorizedAmountCents: operation.answer === 'too much' ? 201 : 100,
          currency: operation.answer === 'in euros' ? 'EUR' : 'USD',
        });
        const { status, replayed, voidQueued } = await this.#requests.recordAuthorized(lease, answer, manager);
        return () => ({ status, replayed, voidQueued });
      }
      case 'denied': {
        const denial = { processorName: 'stripe', denialCode: operation.code };
        const { status, replayed, voidQueued } = await this.#requests.recordDenied(lease, denial, manager);
        return () => ({ status, replayed, voidQueued });
      }
      case 'failed': {
        const { retryable, outcome } = operation;
        // Later than a run lasts: what waits is not a matter of time.
        const nextRetryAt = new Date(Date.now() + 3_600_000);
        const failure = { errorCode: 'TIMEOUT', errorMessage: '', retryable, outcome, nextRetryAt };
        const { status, retryCount, nextRetryAt: due } = await this.#requests.recordFailure(lease, failure, manager);
        return () => ({ status, retries: retryCount, isToCome: due !== null });
      }
      case 'report': {
        const { names, told, event: sourceEventId } = operation;
        const amountCents = CENTS_OF[sourceEventId];
        const said = { restaurantId, ...ofHold, told, source: 'stripe', sourceEventId, amountCents };
        const report = names === 'the request' ? { ...said, authRequestId } : said;
        const { authRequestId: id, state, replayed, voidQueued } = await this.#holds.report(report, manager);
        return () => ({ request: this.#labelOf(id), state, replayed, voidQueued });
      }
      case 'to void': {
        const told = await this.#holds.toVoid(lease, ofHold);
        if (told.outcome === 'nothing_to_do') return () => told;
        const { outcome, amountCents: cents, configVersion: version, failures } = told;
        return () => ({ outcome, cents, version, failures });
      }
      case 'voided': {
        const recorded = await this.#holds.recordVoided(lease, ofHold, manager);
        return () => recorded;
      }
      case 'void failed': {
        const { retryable, code: errorCode, by: retryBy } = operation;
        const nextRetryAt = new Date(Date.now() + 3_600_000);
        const failure = { ...ofHold, errorCode, errorMessage: '', retryable, retryBy, nextRetryAt };
        const recorded = await this.#holds.recordVoidFailure(lease, failure, manager);
        const { state, failures, nextRetryAt: due } = recorded;
        return () => ({ state, failures, isToCome: due !== null });
      }
      case 'requeue void': {
        const requeued = await this.#holds.requeueVoid({ ...person, by: 'ana' }, manager);
        return () => requeued;
      }
      case 'record end': {
        const { end, person: by } = operation;
        const ended = await this.#holds.recordEnd({ ...person, end, by }, manager);
        return () => ended;
      }
      case 'lose the lease':
        await this.#query(
          `UPDATE auth_processing_locks
           SET locked_at = clock_timestamp() - interval '1 minute', expires_at = clock_timestamp() WHERE auth_request_id = $1`,
          [authRequestId],
          manager,
        );
        return () => 'done';
      case 'forget the key':
        await this.#query(
          `UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'
           WHERE restaurant_id = $1 AND idempotency_key = $2`,
          [restaurantId, operation.key],
          manager,
        );
        return () => 'done';
    }
  }

  #authorize(command: AuthorizeCommand, manager?: EntityManager): Promise<AuthorizeReceipt> {
    if (manager || !this.company) return this.#requests.authorize(command, manager);
    return authorizeInCompany(this.#requests, command, this.company);
  }

  /** All of it, in the model's words, and sound. */
  async world(): Promise<unknown> {
    const [records, leases, keys] = await Promise.all([
      requireSound(this.database, [...this.#ids.values()]),
      this.database.query<LeaseRow>(
        `SELECT auth_request_id, worker_id, fencing_token, expires_at > clock_timestamp() AS live
         FROM auth_processing_locks WHERE restaurant_id = $1`,
        [this.#restaurantId],
      ),
      this.database.query<KeyRow>(
        `SELECT idempotency_key, operation, auth_request_id, outcome, expires_at > now() AS live
         FROM auth_idempotency_keys WHERE restaurant_id = $1`,
        [this.#restaurantId],
      ),
    ]);
    const leaseOf = (id: string, label: Label) => {
      const row = leases.find(({ auth_request_id }) => auth_request_id === id);
      if (!row) return null;
      const remembered = this.#leases.get(`${row.worker_id} ${label}`)?.fencingToken === BigInt(row.fencing_token);
      return { worker: row.worker_id, live: row.live, remembered };
    };
    return {
      requests: Object.fromEntries(
        records.map((record) => {
          const label = this.#labelOf(record.authRequestId)!;
          return [label, { ...toModel(record), lease: leaseOf(record.authRequestId, label) }];
        }),
      ),
      keys: Object.fromEntries(
        keys.map(({ idempotency_key, operation, auth_request_id, outcome, live }) => [
          idempotency_key,
          { operation, request: this.#labelOf(auth_request_id), outcome, live },
        ]),
      ),
    };
  }

  #query(sql: string, params: unknown[], manager?: EntityManager): Promise<unknown> {
    return manager ? manager.query(sql, params) : this.database.query(sql, params);
  }

  #labelOf(id: string): Label | undefined {
    return [...this.#ids].find(([, known]) => known === id)?.[0];
  }

  #nextLabel(key: Key): Label {
    return `${key}#${[...this.#ids.keys()].filter((label) => label.startsWith(`${key}#`)).length + 1}`;
  }
}

interface LeaseRow {
  auth_request_id: string;
  worker_id: string;
  fencing_token: string;
  live: boolean;
}

interface KeyRow {
  idempotency_key: string;
  operation: string;
  auth_request_id: string;
  outcome: string | null;
  live: boolean;
}

const toModel = (record: RequestRecord) => ({
  status: record.status,
  openVersions: [...record.openVersions].sort(),
  retries: record.retryCount,
  authId: record.processorAuthId,
  denial: record.denialCode,
  events: record.events.map(nameOf),
  // In which order they are is a matter of the events, which requireSound looks at.
  messages: withIds(record).sort(),
  holds: record.holds.map(({ name: _, nextVoidAt: __, ...hold }) => hold),
});

/** Voids say of which hold. */
function withIds({ messages, voidIds }: RequestRecord): string[] {
  const ids = [...voidIds];
  return messages.map((message) => message.replace(/^void_request_queued/, (type) => `${type} ${ids.shift()}`));
}

function nameOf(event: StoredEvent): string {
  switch (event.type) {
    case 'AuthRequestCreated':
      return 'created';
    case 'AuthAttemptStarted':
      return `started ${event.data.restaurantPaymentConfigVersion}`;
    case 'AuthResponseReceived':
      return event.data.status === 'AUTHORIZED'
        ? `authorized ${event.data.result?.processorAuthId}`
        : `denied ${event.data.result?.denialCode}`;
    case 'AuthAttemptFailed':
      return event.data.isRetryable ? `failed, to be retried: ${event.data.retryCount}` : 'failed';
    case 'AuthVoidRequested':
      return 'void';
    case 'AuthRequestExpired':
      return 'expired';
    case 'AuthHoldReported':
      return `told of ${event.data.processorAuthId}`;
    case 'AuthHoldEnded':
      return `${event.data.processorAuthId} ended: ${event.data.end.toLowerCase()}, by ${event.data.source}`;
    case 'AuthVoidCompleted':
      return `voided ${event.data.processorAuthId}`;
    case 'AuthVoidFailed': {
      const { processorAuthId, errorCode, failureCount } = event.data;
      return `void of ${processorAuthId} failed: ${errorCode}, ${failureCount}`;
    }
    case 'AuthVoidRequeued':
      return `void of ${event.data.processorAuthId} asked again`;
  }
}
