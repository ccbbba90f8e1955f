import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { best, type Comparison } from '../contestant';
import { generateRequests } from '../lab/generate-requests';
import { poolOf } from '../lab/lab';
import { authorizing } from './authorize/request';

/** So many that the database is what limits them. */
const CALLERS = 256;

/** Whether accepting a request gets slower as the tables grow. */
export const growth: Comparison = {
  name: 'growth',
  title: 'Accept a request after many',
  unit: 'requests',
  reference: best('empty'),
  ours: ['empty', 'grown'],
  bars: [{ of: best('grown'), against: best('empty'), atLeast: 0.85, kind: 'required' }],

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
    // Else it would come in the middle of it.
    await poolOf(grown).query('CHECKPOINT');
    return [
      {
        name: 'empty',
        title: 'AuthRequests.authorize, empty tables',
        load: { callers: CALLERS },
        operate: authorizing(new AuthRequests(empty), restaurants),
      },
      {
        name: 'grown',
        title: `AuthRequests.authorize, ${earlierRequests.toLocaleString('en')} earlier requests`,
        load: { callers: CALLERS },
        operate: authorizing(new AuthRequests(grown), restaurants),
      },
    ];
  },
};
