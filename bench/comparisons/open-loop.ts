import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { best, type Comparison, type Contestant } from '../contestant';
import { drive } from '../measure/loops';
import { authorizing } from './authorize/request';

/** Of the rate at which single statements stop. */
const SHARES = { half: 0.5, once: 1, twice: 2 };

/**
 * Requests that arrive whether or not earlier ones have been answered, as those of many clients do. In a closed loop
 * callers come back in step, which flatters whatever puts requests together.
 */
export const openLoop: Comparison = {
  name: 'open-loop',
  title: 'Accept requests that arrive at a fixed rate',
  unit: 'requests',
  reference: best('single once'),
  ours: ['coalesced half', 'coalesced once', 'coalesced twice', 'single half', 'single once', 'single twice'],
  // What is beyond the limit piles up; no call is to wait so long that it gives up.
  seconds: 3,
  bars: [{ of: best('coalesced twice'), against: 'offered', atLeast: 0.95, kind: 'reported' }],

  async prepare(lab) {
    const { restaurants } = lab;
    const { seconds } = lab.settings;
    const coalesced = authorizing(new AuthRequests(await lab.migratedDatabase()), restaurants);
    const withoutIt = await lab.migratedDatabase({ coalescedStatements: 0 });
    const single = authorizing(new AuthRequests(withoutIt), restaurants);
    // The second of them counts: the first lets the compiler see the code.
    const saturate = () => drive(single, { callers: 256 }, seconds * 3, () => undefined);
    await saturate();
    const { operations, elapsedMs } = await saturate();
    const limit = (operations / elapsedMs) * 1_000;
    lab.notice(`  single statements stop at ${Math.round(limit)} requests a second`);
    const under = (name: string, title: string, operate: () => Promise<unknown>): Contestant[] =>
      Object.entries(SHARES).map(([share, part]) => ({
        name: `${name} ${share}`,
        title,
        load: { offered: limit * part },
        operate,
      }));
    return [
      ...under('coalesced', 'AuthRequests.authorize', coalesced),
      ...under('single', 'AuthRequests.authorize, not coalesced', single),
    ];
  },
};
