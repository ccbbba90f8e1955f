import { randomUUID } from 'node:crypto';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { best, type Comparison } from '../contestant';
import { generateRequests, type PendingRequest } from '../lab/generate-requests';
import { type Lab } from '../lab/lab';

/** More than one process gets through, so that none runs out of work. */
const CYCLES_PER_SECOND = 10_000;

/** What a worker does for one request, the processor's answer aside. */
export const worker: Comparison = {
  name: 'worker',
  title: 'Work a request off, the processor aside',
  unit: 'cycles',
  reference: best('single calls'),
  ours: ['attempt', 'single calls'],
  bars: [{ of: best('attempt'), against: best('single calls'), atLeast: 1.6, kind: 'required' }],

  async prepare(lab) {
    const load = { callers: lab.settings.connections };
    const [fused, single] = [await lab.migratedDatabase(), await lab.migratedDatabase()];
    return [
      {
        name: 'attempt',
        title: 'AuthRequests.attempt: two statements',
        load,
        ...workingOff(lab, fused, oneCall(fused)),
      },
      {
        name: 'single calls',
        title: 'acquire, startAttempt, recordAuthorized, release: four statements',
        load,
        ...workingOff(lab, single, singleCalls(single)),
      },
    ];
  },
};

interface Work {
  readonly authRequestId: string;
  readonly restaurantId: string;
  readonly workerId: string;
  readonly ttlMs: number;
}

const answer = () => ({
  processorName: 'stripe' as const,
  processorAuthId: `pi_${randomUUID()}`,
  authorizedAmountCents: 1050,
  currency: 'USD',
  authorizationCode: 'A1B2C3',
});

function singleCalls(dataSource: PaymentEventsDataSource): (work: Work) => Promise<void> {
  const [requests, locks] = [new AuthRequests(dataSource), new ProcessingLocks(dataSource)];
  return async (work) => {
    const lease = await locks.acquire(work);
    if (!lease) throw new Error('a lease was taken');
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await requests.recordAuthorized(lease, answer());
    await locks.release(lease);
  };
}

function oneCall(dataSource: PaymentEventsDataSource): (work: Work) => Promise<void> {
  const requests = new AuthRequests(dataSource);
  return async (work) => {
    const authorized = () => Promise.resolve({ outcome: 'authorized' as const, ...answer() });
    const { outcome } = await requests.attempt({ ...work, configVersion: 'v1' }, authorized);
    if (outcome !== 'authorized') throw new Error('a request had been worked off');
  };
}

/** A cycle at a time, of requests that do not run out. */
function workingOff(lab: Lab, dataSource: PaymentEventsDataSource, cycle: (work: Work) => Promise<void>) {
  const waiting: PendingRequest[] = [];
  let generated = 0;
  return {
    async beforeSample(seconds: number) {
      const lacking = Math.ceil(seconds * CYCLES_PER_SECOND) + lab.settings.connections - waiting.length;
      if (lacking <= 0) return;
      const [from, to] = [generated + 1, generated + lacking];
      waiting.push(...(await generateRequests(dataSource, { from, to, settled: false, restaurants: lab.restaurants })));
      generated = to;
    },
    async operate() {
      const request = waiting.pop();
      if (!request) throw new Error(`a worker got through ${CYCLES_PER_SECOND} requests a second: generate more`);
      const { id: authRequestId, restaurant_id: restaurantId } = request;
      await cycle({ authRequestId, restaurantId, workerId: 'bench', ttlMs: 60_000 });
    },
  };
}
