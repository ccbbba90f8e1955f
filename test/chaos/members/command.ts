import { type AuthorizeCommand } from '../../../src/auth-requests/authorize';
import { Dice } from '../dice';
import { RESTAURANTS } from './restaurants';

/** What a restaurant asks an API. The same number, the same request: who got no answer asks again, and another process may answer. */
export function commandOf(seed: string, api: string, number: number): AuthorizeCommand {
  const key = `${api} ${number}`;
  const chosen = new Dice(`${seed} ${key}`);
  return {
    restaurantId: RESTAURANTS[number % RESTAURANTS.length]!,
    paymentToken: `pt_${chosen.between(1, 1_000)}`,
    amountCents: chosen.between(1, 100_000),
    currency: chosen.pick(['USD', 'EUR', 'JPY']),
    idempotencyKey: key,
  };
}
