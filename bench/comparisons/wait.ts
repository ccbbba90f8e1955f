import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { best, type Comparison } from '../contestant';
import { generateRequests } from '../lab/generate-requests';
import { poolOf } from '../lab/lab';

const WAITERS = 1_000;
/** Earlier requests: an index is not deeper after more of them. */
const MOST_BEFORE = 300_000;

/** So many together take about half a second, with pauses of 10 to 100 ms in between. */
const TURNS = 8;

/**
 * What it costs the server to look once for the result of each of many requests. At the same interval that is what waiting
 * costs, for as long as it lasts.
 */
export const wait: Comparison = {
  name: 'wait',
  title: `Look for the results of ${WAITERS.toLocaleString('en')} requests that are under way`,
  unit: 'looks',
  reference: best('polling'),
  ours: ['waiting'],
  bars: [{ of: best('waiting'), against: best('polling'), atMost: 0.1, kind: 'required' }],

  async prepare(lab) {
    const dataSource = await lab.migratedDatabase();
    const { restaurants, settings } = lab;
    const before = Math.min(settings.earlierRequests, MOST_BEFORE);
    const all = before + WAITERS;
    await generateRequests(dataSource, { from: 1, to: before, settled: true, restaurants });
    const pending = await generateRequests(dataSource, { from: before + 1, to: all, settled: false, restaurants });
    const refs = pending.map((one) => ({ authRequestId: one.id, restaurantId: one.restaurant_id }));
    const requests = new AuthRequests(dataSource);
    const load = { callers: 1 };
    return [
      { name: 'waiting', title: 'AuthRequests.waitForResult', load, operate: waiting(dataSource, refs) },
      {
        name: 'polling',
        title: 'AuthRequests.get of each',
        load,
        async operate() {
          await Promise.all(refs.map((ref) => requests.get(ref)));
          return WAITERS;
        },
      },
    ];
  },
};

type Ref = Parameters<AuthRequests['get']>[0];

/** They begin to wait, and go after some turns: the pauses in between take time, but none of the server's. */
function waiting(dataSource: PaymentEventsDataSource, refs: readonly Ref[]): () => Promise<number> {
  const requests = new AuthRequests(dataSource);
  return async () => {
    const gone = new AbortController();
    const waits = refs.map((ref) =>
      requests.waitForResult(ref, { timeoutMs: 3_600_000, signal: gone.signal }).catch(() => undefined),
    );
    // A statement is one use of a connection. The first is about who came first, each of the others about all.
    await uses(dataSource, 1 + TURNS);
    gone.abort();
    await Promise.all(waits);
    return TURNS * WAITERS;
  };
}

async function uses(dataSource: PaymentEventsDataSource, count: number): Promise<void> {
  const pool = poolOf(dataSource);
  await new Promise<void>((resolve) => {
    const used = () => {
      if (--count > 0) return;
      pool.off('release', used);
      resolve();
    };
    pool.on('release', used);
  });
}
