import { type AuthRequestStatus } from '../../src/entities/auth-request-state.entity';
import { type Key, type Operation, type Worker } from './model-operations';

/** The n-th request authorized with a key, as `k1#1`. */
export type Label = string;

interface Request {
  status: AuthRequestStatus;
  attemptOpen: boolean;
  retries: number;
  authId: string | null;
  denial: string | null;
  events: string[];
  messages: string[];
}

interface Lease {
  worker: Worker;
  token: number;
  live: boolean;
}

interface UsedKey {
  operation: 'authorize' | 'void';
  request: Label;
  /** What was asked for, to know the same request by. */
  asked: string;
  outcome: string | null;
  live: boolean;
}

/** An operation, with what it is about at the time when it is sent. */
export interface Call {
  readonly operation: Operation;
  readonly label: Label;
  /** Of the lease that the worker remembers. */
  readonly token: number;
}

const CLOSED: AuthRequestStatus[] = ['VOIDED', 'EXPIRED', 'FAILED'];
const OPEN: AuthRequestStatus[] = ['PENDING', 'PROCESSING'];

/**
 * What the operations promise, for one caller at a time, in memory. It is the promise told a second time, without regard
 * to how the statements keep it; whatever happens at once must look as if this had happened one after the other.
 *
 * A refusal is told by the error's code.
 */
export class Model {
  readonly #requests = new Map<Label, Request>();
  readonly #leases = new Map<Label, Lease>();
  readonly #keys = new Map<Key, UsedKey>();
  readonly #remembered = new Map<string, number>();
  #tokens = 0;

  clone(): Model {
    const copy = new Model();
    for (const [label, request] of this.#requests) copy.#requests.set(label, structuredClone(request));
    for (const [label, lease] of this.#leases) copy.#leases.set(label, { ...lease });
    for (const [name, key] of this.#keys) copy.#keys.set(name, { ...key });
    for (const [holder, token] of this.#remembered) copy.#remembered.set(holder, token);
    copy.#tokens = this.#tokens;
    return copy;
  }

  /** Undefined where there is no such request or key yet, or the worker has never had a lease to call with. */
  callFor(operation: Operation): Call | undefined {
    if (operation.does === 'forget the key' && !this.#keys.has(operation.key)) return undefined;
    if (!('request' in operation)) return { operation, label: '', token: 0 };
    const label = this.#latest(operation.request);
    if (!this.#requests.has(label)) return undefined;
    if (!('worker' in operation) || operation.does === 'acquire') return { operation, label, token: 0 };
    const token = this.#remembered.get(`${operation.worker} ${label}`);
    return token === undefined ? undefined : { operation, label, token };
  }

  apply({ operation, label, token }: Call): unknown {
    switch (operation.does) {
      case 'authorize':
        return this.#authorize(operation);
      case 'void':
        return this.#void(operation, label);
      case 'expire': {
        const request = this.#get(label);
        if (!OPEN.includes(request.status)) return 'AUTH_REQUEST_STATUS';
        request.status = 'EXPIRED';
        request.events.push('expired');
        return 'done';
      }
      case 'expire all': {
        const stale = [...this.#requests].filter(([, { status }]) => OPEN.includes(status));
        for (const [, request] of stale) {
          request.status = 'EXPIRED';
          request.events.push('expired');
        }
        return stale.map(([name]) => name).sort();
      }
      case 'acquire': {
        if (this.#leases.get(label)?.live) return false;
        this.#leases.set(label, { worker: operation.worker, token: ++this.#tokens, live: true });
        this.#remembered.set(`${operation.worker} ${label}`, this.#tokens);
        return true;
      }
      case 'renew':
        return this.#holds(label, token) ? 'done' : 'LOCK_LOST';
      case 'release':
        return this.#leases.get(label)?.token === token && this.#leases.delete(label);
      case 'lose the lease': {
        const lease = this.#leases.get(label);
        if (lease) lease.live = false;
        return 'done';
      }
      case 'forget the key':
        this.#keys.get(operation.key)!.live = false;
        return 'done';
      case 'start':
        return this.#holds(label, token) ? this.#start(this.#get(label)) : 'LOCK_LOST';
      case 'authorized':
        return this.#holds(label, token) ? this.#authorized(this.#get(label), operation.answer) : 'LOCK_LOST';
      case 'denied':
        return this.#holds(label, token) ? this.#denied(this.#get(label), operation.code) : 'LOCK_LOST';
      case 'failed':
        return this.#holds(label, token) ? this.#failed(this.#get(label), operation) : 'LOCK_LOST';
    }
  }

  /** All of it, as far as the database shows it. */
  world(): unknown {
    return {
      requests: Object.fromEntries(
        [...this.#requests].map(([label, request]) => [label, { ...request, lease: this.#leaseOf(label) }]),
      ),
      keys: Object.fromEntries(
        [...this.#keys].map(([name, { operation, request, outcome, live }]) => [
          name,
          { operation, request, outcome, live },
        ]),
      ),
    };
  }

  #authorize({ key, cents }: Operation & { does: 'authorize' }): unknown {
    const used = this.#keys.get(key);
    if (used?.live) {
      if (used.operation !== 'authorize' || used.asked !== `${cents}`) return 'IDEMPOTENCY_KEY_REUSE';
      return { request: used.request, status: this.#get(used.request).status, replayed: true };
    }
    const label = this.#next(key);
    this.#requests.set(label, {
      status: 'PENDING',
      attemptOpen: false,
      retries: 0,
      authId: null,
      denial: null,
      events: ['created'],
      messages: ['auth_request_queued'],
    });
    this.#keys.set(key, { operation: 'authorize', request: label, asked: `${cents}`, outcome: null, live: true });
    return { request: label, status: 'PENDING', replayed: false };
  }

  #void({ key, reason }: Operation & { does: 'void' }, label: Label): unknown {
    const request = this.#get(label);
    const used = this.#keys.get(key);
    const asked = `${label} ${reason}`;
    if (used?.live) {
      if (used.operation !== 'void' || used.asked !== asked) return 'IDEMPOTENCY_KEY_REUSE';
      return { status: request.status, outcome: used.outcome, replayed: true };
    }
    const outcome = { PENDING: 'not_required', PROCESSING: 'pending', AUTHORIZED: 'queued' }[request.status as string];
    if (!outcome) return 'NOT_VOIDABLE';
    if (outcome === 'queued') request.messages.push(`void_request_queued: ${reason}`);
    request.status = 'VOIDED';
    request.events.push('void');
    this.#keys.set(key, { operation: 'void', request: label, asked, outcome, live: true });
    return { status: 'VOIDED', outcome, replayed: false };
  }

  #start(request: Request): unknown {
    const { status, retries } = request;
    const open = OPEN.includes(status);
    if (!open && !(CLOSED.includes(status) && request.attemptOpen)) return { outcome: 'nothing_to_do', status };
    if (open) request.status = 'PROCESSING';
    request.attemptOpen = true;
    request.events.push('started');
    return { outcome: open ? 'proceed' : 'settle', status: request.status, retries };
  }

  #authorized(request: Request, answer: string): unknown {
    if (answer === 'too much' || answer === 'in euros') return 'AUTHORIZATION_MISMATCH';
    const { status } = request;
    const closed = CLOSED.includes(status);
    if (request.authId === answer && !request.attemptOpen) return { status, replayed: true, voidQueued: false };
    if (status !== 'PROCESSING' && !closed) return 'AUTH_REQUEST_STATUS';
    if (closed) request.messages.push('void_request_queued: voided_during_authorization');
    else request.status = 'AUTHORIZED';
    request.authId = answer;
    request.attemptOpen = false;
    request.events.push(`authorized ${answer}`);
    return { status: request.status, replayed: false, voidQueued: closed };
  }

  #denied(request: Request, code: string): unknown {
    const { status } = request;
    if (status === 'DENIED' && request.denial === code) return { status, replayed: true, voidQueued: false };
    const closed = CLOSED.includes(status) && request.attemptOpen;
    if (status !== 'PROCESSING' && !closed) return 'AUTH_REQUEST_STATUS';
    if (!closed) {
      request.status = 'DENIED';
      request.denial = code;
    }
    request.attemptOpen = false;
    request.events.push(`denied ${code}`);
    return { status: request.status, replayed: false, voidQueued: false };
  }

  #failed(request: Request, { retryable, outcome }: Operation & { does: 'failed' }): unknown {
    const { status } = request;
    const closed = CLOSED.includes(status) && request.attemptOpen;
    const applies = status === 'PROCESSING' || (status === 'PENDING' && !retryable) || closed;
    if (!applies) return 'AUTH_REQUEST_STATUS';
    if (!closed && !retryable) request.status = 'FAILED';
    if (retryable) request.retries += 1;
    if (outcome === 'known') request.attemptOpen = false;
    request.events.push(retryable ? `failed, to be retried: ${request.retries}` : 'failed');
    return { status: request.status, retries: request.retries };
  }

  #holds(label: Label, token: number): boolean {
    const lease = this.#leases.get(label);
    return lease !== undefined && lease.live && lease.token === token;
  }

  #leaseOf(label: Label): unknown {
    const lease = this.#leases.get(label);
    if (!lease) return null;
    const { worker, token, live } = lease;
    return { worker, live, remembered: this.#remembered.get(`${worker} ${label}`) === token };
  }

  #get(label: Label): Request {
    return this.#requests.get(label)!;
  }

  #count(key: Key): number {
    return [...this.#requests.keys()].filter((label) => label.startsWith(`${key}#`)).length;
  }

  #latest = (key: Key): Label => `${key}#${this.#count(key)}`;
  #next = (key: Key): Label => `${key}#${this.#count(key) + 1}`;
}
