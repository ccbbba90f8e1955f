import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { setFence } from '../../src/fence/set-fence';
import { owns } from '../../src/fence/residue';
import { at, type Comparison, underEach } from '../contestant';
import { authorizing } from './authorize/request';

/** One that waits for its turn at the server, and many that travel together. */
const FEW = 16;
const MANY = 256;

/** Half of the restaurants: the condition is as long whatever the class. */
const HALF = { modulus: 2, remainder: 0 };

/** What a database that refuses the restaurants of others pays for it: one more check of each table that takes a restaurant first. */
export const fence: Comparison = {
  name: 'fence',
  title: 'Accept requests with and without a fence',
  unit: 'requests',
  reference: at(FEW, 'without'),
  ours: ['with', 'without'],
  bars: [FEW, MANY].flatMap((callers) => [
    { of: at(callers, 'with'), against: at(callers, 'without'), atLeast: 0.9, kind: 'required' } as const,
    { of: at(callers, 'with'), against: at(callers, 'without'), atMost: 1.1, kind: 'reported' } as const,
  ]),
  onlyInFull: true,

  async prepare(lab) {
    const [fenced, open] = [await lab.migratedDatabase(), await lab.migratedDatabase()];
    await setFence(fenced, HALF);
    const own = lab.restaurants.filter((restaurantId) => owns(HALF, restaurantId));
    const contestant = (name: string, title: string, dataSource: typeof open) =>
      underEach([FEW, MANY], { name, title, operate: authorizing(new AuthRequests(dataSource), own) });
    return [
      ...contestant('without', 'AuthRequests.authorize, no fence', open),
      ...contestant('with', 'AuthRequests.authorize, a fence on keys and events', fenced),
    ];
  },
};
