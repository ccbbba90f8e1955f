import { type AuthRequestStatus } from '../../../src/auth-requests/statuses';
import { type Hold, ModelHolds } from './model-holds';
import { CENTS_OF, type HoldId, type Key, type Operation, type Version, type Worker } from './model-operations';

/** The n-th request authorized with a key, as `k1#1`. */
export type Label = string;

interface Request {
  status: AuthRequestStatus;
  /** Every attempt ever made, by the number of its event. */
  attempts: { number: number; version: Version; token: number; open: boolean }[];
  /** What workers have recorded. */
  records: Recorded[];
  retries: number;
  authId: string | null;
  denial: string | null;
  events: string[];
  messages: string[];
  /** Everything that processors hold or held for it. */
  holds: Hold[];
  /** What processors and persons have told of holds. */
  told: string[];
  /** What workers have told of voids. */
  voids: { said: string; answer: Record<string, unknown> }[];
}

interface Recorded {
  number: number;
  /** What was said: the same again is a repeat. */
  said: string;
  token: number;
  /** The number of the attempt it is of. */
  attempt: number | undefined;
  answer: Record<string, unknown>;
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
        if (request.status === 'EXPIRED') return 'done';
        if (!OPEN.includes(request.status)) return 'AUTH_REQUEST_STATUS';
        request.status = 'EXPIRED';
        request.events.push('expired');
        new ModelHolds(request).needNone('expired');
        return 'done';
      }
      case 'expire all': {
        const stale = [...this.#requests].filter(([, { status }]) => OPEN.includes(status));
        for (const [, request] of stale) {
          request.status = 'EXPIRED';
          request.events.push('expired');
          new ModelHolds(request).needNone('expired');
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
        return this.#holds(label, token) ? this.#start(this.#get(label), operation, token) : 'LOCK_LOST';
      case 'authorized':
        return this.#authorized(this.#get(label), operation.answer, token, this.#holds(label, token));
      case 'denied':
        return this.#denied(this.#get(label), operation.code, token, this.#holds(label, token));
      case 'failed':
        return this.#failed(this.#get(label), operation, token, this.#holds(label, token));
      case 'report':
        return this.#report(operation, label);
      case 'to void': {
        if (!this.#holds(label, token)) return 'LOCK_LOST';
        return new ModelHolds(this.#get(label)).toVoid(operation.hold);
      }
      case 'voided':
        return new ModelHolds(this.#get(label)).voided(operation, token, this.#holds(label, token));
      case 'void failed':
        return new ModelHolds(this.#get(label)).voidFailed(operation, token, this.#holds(label, token));
      case 'requeue void':
        return new ModelHolds(this.#get(label)).requeue(operation.hold);
      case 'record end': {
        const { hold, end, person } = operation;
        const holds = new ModelHolds(this.#get(label));
        return holds.find(hold) ? holds.recordEnd(hold, end, person) : 'HOLD_NOT_FOUND';
      }
    }
  }

  /** All of it, as far as the database shows it. */
  world(): unknown {
    return {
      requests: Object.fromEntries(
        [...this.#requests].map(([label, { attempts, records: _, told: __, voids: ___, ...request }]) => [
          label,
          {
            ...request,
            messages: request.messages.toSorted(),
            holds: request.holds.map(({ version: _version, waits: _waits, ...hold }) => hold),
            openVersions: openVersions(attempts).sort(),
            lease: this.#leaseOf(label),
          },
        ]),
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
      attempts: [],
      records: [],
      retries: 0,
      authId: null,
      denial: null,
      events: ['created'],
      messages: ['auth_request_queued'],
      holds: [],
      told: [],
      voids: [],
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
    const { status } = request;
    const needed = request.holds.filter(({ isNeeded }) => isNeeded).map(({ state }) => state);
    if (![...OPEN, 'AUTHORIZED'].includes(status) || needed.includes('captured')) return 'NOT_VOIDABLE';
    const outcome = status === 'PROCESSING' ? 'pending' : needed.includes('held') ? 'queued' : 'not_required';
    request.status = 'VOIDED';
    request.events.push('void');
    new ModelHolds(request).needNone(reason);
    this.#keys.set(key, { operation: 'void', request: label, asked, outcome, live: true });
    return { status: 'VOIDED', outcome, replayed: false };
  }

  #start(request: Request, { version, beside }: Operation & { does: 'start' }, token: number): unknown {
    const { status, retries, attempts } = request;
    const isOpen = OPEN.includes(status);
    const open = openVersions(attempts);
    if (!isOpen && open.length === 0) return { outcome: 'nothing_to_do', status };
    const chosen = (isOpen && beside) || open.length === 0 || open.includes(version) ? version : open[0]!;
    if (isOpen) request.status = 'PROCESSING';
    request.events.push(`started ${chosen}`);
    attempts.push({ number: request.events.length, version: chosen, token, open: true });
    const proceeds = isOpen && chosen === version;
    return { outcome: proceeds ? 'proceed' : 'settle', status: request.status, retries, version: chosen };
  }

  #authorized(request: Request, answer: string, token: number, held: boolean): unknown {
    const said = `authorized ${answer}`;
    const before = request.records.find((record) => record.said === said && (held || record.token === token));
    const own = ownAttempt(request, token);
    if (before && !(held && own?.open)) return { ...before.answer, replayed: true };
    if (!held) return 'LOCK_LOST';
    if (answer === 'too much' || answer === 'in euros') return 'AUTHORIZATION_MISMATCH';
    const { status } = request;
    if (status === 'PENDING') return 'AUTH_REQUEST_STATUS';
    const crossed = new ModelHolds(request).answered(answer as HoldId, 100, own?.version);
    if (status === 'PROCESSING' || !request.authId) request.authId = answer;
    if (status === 'PROCESSING') request.status = 'AUTHORIZED';
    closeVersion(request, own);
    return record(request, said, { status: request.status, replayed: false, voidQueued: crossed }, token);
  }

  #denied(request: Request, code: string, token: number, held: boolean): unknown {
    const said = `denied ${code}`;
    const own = lastOf(request, token);
    const before = request.records.find(
      (record) => record.said === said && record.token === token && record.attempt === own?.number,
    );
    if (before) return { ...before.answer, replayed: true };
    if (!held) return 'LOCK_LOST';
    if (request.status === 'PENDING') return 'AUTH_REQUEST_STATUS';
    if (request.status === 'PROCESSING') {
      request.status = 'DENIED';
      request.denial = code;
      new ModelHolds(request).needNone('denied');
    }
    closeVersion(request, ownAttempt(request, token));
    return record(request, said, { status: request.status, replayed: false, voidQueued: false }, token);
  }

  #failed(
    request: Request,
    { retryable, outcome }: Operation & { does: 'failed' },
    token: number,
    held: boolean,
  ): unknown {
    const said = `failed ${retryable} ${outcome}`;
    const last = lastOf(request, token);
    const since = request.records.filter((each) => each.token === token && each.number > (last?.number ?? 0));
    const before = since.find((each) => each.said === said);
    if (before) return before.answer;
    if (!held) return 'LOCK_LOST';
    const own = ownAttempt(request, token);
    // An attempt fails once, and is answered once: what fails after that is nobody's attempt.
    const isAnswer = (what: string) => what.endsWith('nothing_held');
    const isTaken = since.some(
      (each) => each.said.startsWith('failed') && each.attempt && isAnswer(each.said) === isAnswer(said),
    );
    const isItsFailure = own !== undefined && !isTaken;
    const { status } = request;
    const ofItsVersion = outcome === 'nothing_held' && openVersions(request.attempts).includes(own?.version ?? 'v1');
    const settles = isItsFailure && (own.open || ofItsVersion);
    const applies = status === 'PROCESSING' || (status === 'PENDING' && !retryable) || settles;
    if (!applies) return 'AUTH_REQUEST_STATUS';
    if (OPEN.includes(status) && !retryable) {
      request.status = 'FAILED';
      new ModelHolds(request).needNone('failed');
    }
    if (retryable) request.retries += 1;
    if (isItsFailure && outcome === 'not_asked') own.open = false;
    if (isItsFailure && outcome === 'nothing_held') closeVersion(request, own);
    const name = retryable ? `failed, to be retried: ${request.retries}` : 'failed';
    const isToCome = retryable && status === 'PROCESSING';
    // The first waits for longer than a run lasts, and one at most waits.
    const waits = request.messages.filter((message) => message === 'auth_request_queued').length > 1;
    if (isToCome && !waits) request.messages.push('auth_request_queued');
    const answer = { status: request.status, retries: request.retries, isToCome };
    return record(request, said, answer, token, name, isItsFailure ? own.number : undefined);
  }

  #report({ names, hold, told, event }: Operation & { does: 'report' }, label: Label): unknown {
    const having = [...this.#requests].filter(([, { holds }]) => holds.some(({ id }) => id === hold));
    if (names === 'the id alone') {
      if (having.length === 0) return 'HOLD_NOT_FOUND';
      if (having.length > 1) return 'AMBIGUOUS_HOLD';
    }
    const of = names === 'the id alone' ? having[0]![0] : label;
    const reported = new ModelHolds(this.#get(of)).report(hold, told, event, CENTS_OF[event]);
    return { request: of, ...reported };
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

/** Under which versions the processor may hold money: those with an attempt that nobody has ended. */
const openVersions = (attempts: Request['attempts']): Version[] => [
  ...new Set(attempts.filter(({ open }) => open).map(({ version }) => version)),
];

/** The last attempt that this lease has made, if it is the last of all. */
const ownAttempt = ({ attempts }: Request, token: number) =>
  attempts.at(-1)?.token === token ? attempts.at(-1) : undefined;

const lastOf = ({ attempts }: Request, token: number) => attempts.findLast((attempt) => attempt.token === token);

/** An answer ends every attempt under its version. */
function closeVersion({ attempts }: Request, own: Request['attempts'][number] | undefined): void {
  for (const attempt of attempts) if (attempt.version === own?.version) attempt.open = false;
}

function record(
  request: Request,
  said: string,
  answer: Record<string, unknown>,
  token: number,
  name = said,
  attempt = ownAttempt(request, token)?.number,
): unknown {
  request.events.push(name);
  request.records.push({ number: request.events.length, said, token, attempt, answer });
  return answer;
}
