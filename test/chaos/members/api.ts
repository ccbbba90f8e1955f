import { setTimeout as delay } from 'node:timers/promises';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type AuthorizeCommand } from '../../../src/auth-requests/authorize';
import { NotVoidableError } from '../../../src/errors';
import { Dice } from '../dice';
import { ask } from '../http';
import { say } from '../journal';
import { CALM, dice, FROM, insist, NAME, QUEUES, SEED, work } from './member';
import { RESTAURANTS } from './restaurants';
import { takeWebhook } from './take-webhook';

const CLIENTS = 8;
/** Beside them it takes in what the processor tells by itself. */
const TAKERS = 4;
/** It takes no more than what the workers can do. */
const BACKLOG = 60;

/** The same number, the same request: a restaurant that got no answer asks again, also after the API has died. */
function commandOf(number: number): AuthorizeCommand {
  const key = `${NAME} ${number}`;
  const chosen = new Dice(`${SEED} ${key}`);
  return {
    restaurantId: chosen.pick(RESTAURANTS),
    paymentToken: `pt_${chosen.between(1, 1_000)}`,
    amountCents: chosen.between(1, 100_000),
    currency: chosen.pick(['USD', 'EUR', 'JPY']),
    idempotencyKey: key,
  };
}

let next = FROM;

void work(CLIENTS + TAKERS, async (dataSource, number) => {
  if (number < TAKERS) return await takeWebhook(dataSource);
  // When all is to come to rest nothing new begins.
  if (CALM) return await delay(1_000);
  const requests = new AuthRequests(dataSource);
  while ((await ask<number>(`${QUEUES}/length`, {}).catch(() => BACKLOG)) >= BACKLOG) await delay(200);
  const command = commandOf(next++);
  const authorize = () =>
    dice.chance(0.2)
      ? dataSource.transaction((manager) => requests.authorize(command, manager))
      : requests.authorize(command);
  const key = command.idempotencyKey;
  let receipt = await insist(authorize);
  say({ did: 'authorize', key, authRequestId: receipt.authRequestId, replayed: receipt.replayed });
  if (dice.chance(0.1)) {
    receipt = await insist(authorize);
    say({ did: 'authorize', key, authRequestId: receipt.authRequestId, replayed: receipt.replayed });
  }
  const ref = { restaurantId: command.restaurantId, authRequestId: receipt.authRequestId };
  if (dice.chance(0.4)) await takeBack(requests, ref, key);
});

/** For some seconds. */
async function answered(requests: AuthRequests, ref: { restaurantId: string; authRequestId: string }): Promise<void> {
  for (let looks = 0; looks < 20; looks++) {
    await delay(500);
    const request = await insist(() => requests.get(ref));
    if (request?.status !== 'PENDING' && request?.status !== 'PROCESSING') return;
  }
}

async function takeBack(
  requests: AuthRequests,
  ref: { restaurantId: string; authRequestId: string },
  key: string,
): Promise<void> {
  // Before a worker has it, while one asks, or after the answer.
  if (dice.chance(0.5)) await answered(requests, ref);
  else await delay(dice.chance(0.3) ? dice.between(0, 50) : dice.between(0, 8_000));
  const idempotencyKey = `${key} void`;
  const command = { ...ref, idempotencyKey, reason: 'guest left', correlationId: idempotencyKey };
  try {
    const { status, outcome: how } = await insist(() => requests.requestVoid(command));
    say({ did: 'void', authRequestId: ref.authRequestId, status, correlationId: idempotencyKey, how });
  } catch (error) {
    if (!(error instanceof NotVoidableError)) throw error;
    say({ met: error.code });
  }
}
