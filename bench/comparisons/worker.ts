import { randomUUID } from 'node:crypto';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { best, type Comparison } from '../contestant';
import { generateRequests, type PendingRequest } from '../lab/generate-requests';

/** More than one process gets through, so that none runs out of work. */
const CYCLES_PER_SECOND = 10_000;

/** What a worker does for one request, the processor's answer aside. */
export const worker: Comparison = {
  name: 'worker',
  title: 'Work a request off, the processor aside',
  unit: 'cycles',
  reference: best('single calls'),
  ours: ['single calls'],
  bars: [],

  async prepare(lab) {
    const dataSource = await lab.migratedDatabase();
    const [requests, locks] = [new AuthRequests(dataSource), new ProcessingLocks(dataSource)];
    const waiting: PendingRequest[] = [];
    let generated = 0;
    return [
      {
        name: 'single calls',
        title: 'acquire, startAttempt, recordAuthorized, release: four statements',
        load: { callers: lab.settings.connections },
        async beforeSample(seconds) {
          const lacking = Math.ceil(seconds * CYCLES_PER_SECOND) + lab.settings.connections - waiting.length;
          if (lacking <= 0) return;
          const [from, to] = [generated + 1, generated + lacking];
          waiting.push(
            ...(await generateRequests(dataSource, { from, to, settled: false, restaurants: lab.restaurants })),
          );
          generated = to;
        },
        async operate() {
          const request = waiting.pop();
          if (!request) throw new Error(`a worker got through ${CYCLES_PER_SECOND} requests a second: generate more`);
          const { id: authRequestId, restaurant_id: restaurantId } = request;
          const lease = await locks.acquire({ restaurantId, authRequestId, workerId: 'bench', ttlMs: 60_000 });
          if (!lease) throw new Error('a lease was taken');
          await requests.startAttempt(lease, { configVersion: 'v1' });
          await requests.recordAuthorized(lease, {
            processorName: 'stripe',
            processorAuthId: `pi_${randomUUID()}`,
            authorizedAmountCents: 1050,
            currency: 'USD',
            authorizationCode: 'A1B2C3',
          });
          await locks.release(lease);
        },
      },
    ];
  },
};
