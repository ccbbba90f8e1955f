import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { ProcessorWorlds, type Version } from '../support/requests/processor-worlds';
import { atOnce, crowdOf } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const CONNECTIONS = 6;

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;
beforeAll(async () => {
  crowd = await crowdOf(CONNECTIONS, database);
  requests = new AuthRequests(crowd);
  locks = new ProcessingLocks(crowd);
});
afterAll(() => crowd.destroy());

type Worker = 'A' | 'B';

/** What may happen next. A worker that begins or gives up takes the lease, from another that has died with it. */
type Step =
  | { does: 'begin'; worker: Worker; version: Version }
  | { does: 'give up'; worker: Worker }
  | { does: 'not asked' | 'time out' | 'yes' | 'no' | 'nothing there' }
  | { does: 'void' };

const BEGINNINGS = (['A', 'B'] as const).flatMap((worker) =>
  (['v1', 'v2'] as const).map((version): Step => ({ does: 'begin', worker, version })),
);
const REPORTS = (['not asked', 'time out', 'yes', 'no', 'nothing there'] as const).map((does): Step => ({ does }));
const STEPS: readonly Step[] = [...BEGINNINGS, ...REPORTS, { does: 'give up', worker: 'B' }, { does: 'void' }];

/** All sequences of so many steps; the first begins, and what it is called does not matter. */
function* sequences(length: number): Generator<Step[], void, undefined> {
  if (length === 1) {
    yield [BEGINNINGS[0]!];
    return;
  }
  for (const sequence of sequences(length - 1)) for (const step of STEPS) yield [...sequence, step];
}

/** One request, its workers, and the processors behind them. */
class Trial {
  readonly #worlds = new ProcessorWorlds();
  readonly authRequestId: string;
  #lease: Lease | undefined;
  /** The attempt of whoever holds the lease, and what was said of it. */
  #attempt: { version: Version; said: 'nothing' | 'failure' | 'answer' } | undefined;

  constructor(authRequestId: string) {
    this.authRequestId = authRequestId;
  }

  /** False where the step cannot be: nobody is there to make it, or it would not be true. */
  async take(step: Step): Promise<boolean> {
    switch (step.does) {
      case 'begin': {
        const attempt = await requests.startAttempt(await this.#leaseOf(step.worker), {
          configVersion: step.version,
          besideUnanswered: true,
        });
        this.#attempt = undefined;
        if (attempt.outcome === 'nothing_to_do') return false;
        this.#attempt = { version: attempt.configVersion as Version, said: 'nothing' };
        this.#worlds.begin(this.#attempt.version);
        return true;
      }
      case 'give up': {
        if (this.#lease?.workerId === step.worker) return false;
        const lease = await this.#leaseOf(step.worker);
        this.#attempt = undefined;
        const failure = { errorCode: 'CONFIG_NOT_FOUND', errorMessage: '', retryable: false };
        return succeeds(requests.recordFailure(lease, { ...failure, outcome: 'not_asked' }));
      }
      case 'void':
        return succeeds(requests.requestVoid({ ...this.#ref, idempotencyKey: uuidv4(), reason: '' }));
      case 'not asked':
      case 'time out':
      case 'yes':
      case 'no':
      case 'nothing there':
        return await this.#report(step.does);
    }
  }

  async requireRemembered(history: Step[]): Promise<void> {
    const request = await requests.get(this.#ref);
    const open = [...request!.unansweredVersions].sort();
    expect({ history, open, attemptOpen: request!.attemptOpen }).toEqual({
      history,
      open: this.#worlds.mayHold(),
      attemptOpen: open.length > 0,
    });
  }

  async #report(does: 'not asked' | 'time out' | 'yes' | 'no' | 'nothing there'): Promise<boolean> {
    const attempt = this.#attempt;
    if (!attempt || attempt.said === 'answer') return false;
    const isFailure = does === 'not asked' || does === 'time out';
    if (isFailure && attempt.said !== 'nothing') return false;
    attempt.said = does === 'time out' ? 'failure' : 'answer';
    const failure = { errorCode: does, errorMessage: '', retryable: true };
    switch (does) {
      case 'not asked':
        this.#worlds.notAsked();
        await requests.recordFailure(this.#lease!, { ...failure, outcome: 'not_asked' });
        return true;
      case 'time out':
        await requests.recordFailure(this.#lease!, { ...failure, outcome: 'unknown' });
        return true;
      case 'nothing there':
        if (!this.#worlds.answered(attempt.version, 'never asked')) return false;
        await requests.recordFailure(this.#lease!, { ...failure, outcome: 'nothing_held' });
        return true;
      case 'yes': {
        if (!this.#worlds.answered(attempt.version, 'holds')) return false;
        const processorAuthId = `${attempt.version} ${this.authRequestId}`;
        await requests.recordAuthorized(this.#lease!, anAuthorization({ processorAuthId }));
        return true;
      }
      case 'no':
        if (!this.#worlds.answered(attempt.version, 'declined')) return false;
        await requests.recordDenied(this.#lease!, { processorName: 'stripe', denialCode: '05' });
        return true;
    }
  }

  async #leaseOf(worker: Worker): Promise<Lease> {
    if (this.#lease?.workerId === worker) return this.#lease;
    await database.query('DELETE FROM auth_processing_locks WHERE auth_request_id = $1', [this.authRequestId]);
    this.#lease = (await locks.acquire({ ...this.#ref, workerId: worker, ttlMs: 3_600_000 }))!;
    return this.#lease;
  }

  get #ref() {
    return { restaurantId: RESTAURANT, authRequestId: this.authRequestId };
  }
}

const succeeds = (promise: Promise<unknown>): Promise<boolean> =>
  promise.then(
    () => true,
    () => false,
  );

/** How many of them could be carried out to their end. */
async function tryAll(all: Iterator<Step[]>): Promise<number> {
  const ids: string[] = [];
  let whole = 0;
  await atOnce(CONNECTIONS, async () => {
    for (let next = all.next(); !next.done; next = all.next()) {
      const { authRequestId } = await requests.authorize(anAuthorizeCommand());
      const trial = new Trial(authRequestId);
      ids.push(authRequestId);
      const history: Step[] = [];
      for (const step of next.value) {
        if (!(await trial.take(step))) break;
        history.push(step);
        await trial.requireRemembered(history);
      }
      if (history.length === next.value.length) whole += 1;
    }
  });
  for (let first = 0; first < ids.length; first += 500) await requireSound(database, ids.slice(first, first + 500));
  return whole;
}

describe('the attempts that are open', () => {
  it('are those of the processors that may hold money nobody has recorded, after any four steps', async () => {
    expect(await tryAll(sequences(4))).toBeGreaterThan(500);
  }, 240_000);

  it('and after any of many longer sequences', async () => {
    const random = function* (): Generator<Step[]> {
      for (let count = 0; count < 400; count++) {
        const any = () => STEPS[Math.floor(Math.random() * STEPS.length)]!;
        yield [BEGINNINGS[0]!, ...Array.from({ length: 11 }, any)];
      }
    };
    await tryAll(random());
  }, 120_000);
});
