import { randomUUID } from 'node:crypto';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { AuthorizeCommand } from '../../src/auth-requests/authorize';
import { screenNew } from '../../src/card-numbers/screen';
import { validateCommand } from '../../src/validation/validate-command';
import { at, type Comparison } from '../contestant';
import { REQUEST } from './authorize/request';

const CALLERS = 256;
/** So many a sample's operation, or the loop around it would be what is measured. */
const AT_ONCE = 100;

/** An order with its items: some forty texts and numbers, none of which has the digits of a card. */
const METADATA = {
  ...REQUEST.metadata,
  placed_at: '2026-04-01T12:30:45.123Z',
  guest: { note: 'no onions, please ring twice', phone: '+1 555 0100 200' },
  items: Array.from({ length: 10 }, (_, index) => ({
    sku: `SKU-${100_000 + index}`,
    name: 'a dish with a name of some length',
    price_cents: 1_050,
  })),
};

/** What it costs to look for card numbers, beside all that accepting a request costs. */
export const cardNumbers: Comparison = {
  name: 'card-numbers',
  title: 'Accept a request with metadata, and look for card numbers in it alone',
  unit: 'requests',
  reference: at(CALLERS, 'authorize'),
  ours: ['authorize'],
  // At most a twentieth of it.
  bars: [{ of: at(1, 'look'), against: at(CALLERS, 'authorize'), atLeast: 20, kind: 'required' }],
  onlyInFull: true,

  async prepare(lab) {
    const dataSource = await lab.migratedDatabase();
    const requests = new AuthRequests(dataSource);
    const { paymentToken, amountCents, currency } = REQUEST;
    const aCommand = (): AuthorizeCommand => ({
      ...{ restaurantId: lab.restaurants[0]!, paymentToken, amountCents, currency },
      ...{ idempotencyKey: randomUUID(), metadata: METADATA },
    });
    const command = validateCommand({ AuthorizeCommand }, aCommand());
    return [
      {
        name: 'authorize',
        title: 'AuthRequests.authorize',
        load: { callers: CALLERS },
        operate: () => requests.authorize(aCommand()),
      },
      {
        name: 'look',
        title: 'limit: looking for card numbers in its command',
        load: { callers: 1 },
        operate: () => {
          for (let count = 0; count < AT_ONCE; count++)
            screenNew(dataSource, 'authorize', { AuthorizeCommand: command });
          return Promise.resolve(AT_ONCE);
        },
      },
    ];
  },
};
