import { type Comparison } from '../contestant';
import { generateRequests } from '../lab/generate-requests';
import { poolOf } from '../lab/lab';
import { authorizing } from './authorize/request';

/** Whether accepting a request gets slower as the tables grow. */
export const growth: Comparison = {
  name: 'growth',
  title: 'Accept a request after many',
  unit: 'requests',
  reference: 'empty',
  bars: [{ of: 'grown', against: 'empty', atLeast: 0.85, kind: 'required' }],

  async prepare(lab) {
    const { restaurants } = lab;
    const { earlierRequests } = lab.settings;
    const [empty, grown] = [await lab.migratedDatabase(), await lab.migratedDatabase()];
    await generateRequests(grown, {
      from: 1,
      to: earlierRequests,
      settled: true,
      restaurants,
      progress: (done) => lab.notice(`generating: ${done} of ${earlierRequests} earlier requests`),
    });
    const pool = poolOf(grown);
    // What autovacuum and the next checkpoint would do in the middle of it.
    const client = await pool.connect();
    for (const sql of ['SET statement_timeout = 0', 'VACUUM (ANALYZE)', 'CHECKPOINT']) await client.query(sql);
    client.release(true);
    return [
      { name: 'empty', title: 'AuthRequests.authorize, empty tables', operate: authorizing(empty, restaurants) },
      {
        name: 'grown',
        title: `AuthRequests.authorize, ${earlierRequests.toLocaleString('en')} earlier requests`,
        operate: authorizing(grown, restaurants),
      },
    ];
  },
};
