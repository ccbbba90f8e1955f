import { setTimeout as delay } from 'node:timers/promises';
import { NotVoidableError } from '../../../src/errors';
import { type Shards } from '../../../src/shards/shards';
import { ask } from '../http';
import { say } from '../journal';
import { commandOf } from './command';
import { CALM, dice, FROM, insistAt, NAME, QUEUES, SEED, work } from './member';
import { RESTAURANTS } from './restaurants';
import { takeWebhook } from './take-webhook';

/** One a restaurant: where the database of one is away, the others go on. */
const CLIENTS = RESTAURANTS.length;
/** Beside them it takes in what the processor tells by itself. */
const TAKERS = 4;
/** It takes no more than what the workers can do. */
const BACKLOG = 60;

/** Each client's next request is so many after its last. */
const next = RESTAURANTS.map((_, client) => FROM - (FROM % CLIENTS) + client);

void work(CLIENTS + TAKERS, async (shards, loop) => {
  if (loop >= CLIENTS) return await takeWebhook(shards);
  // When all is to come to rest nothing new begins.
  if (CALM) return await delay(1_000);
  while ((await ask<number>(`${QUEUES}/length`, {}).catch(() => BACKLOG)) >= BACKLOG) await delay(200);
  const number = next[loop]!;
  next[loop] = number + CLIENTS;
  const command = commandOf(SEED, NAME, number);
  const authorize = () =>
    insistAt(shards, command, ({ dataSource, requests }) =>
      dice.chance(0.2)
        ? dataSource.transaction((manager) => requests.authorize(command, manager))
        : requests.authorize(command),
    );
  const key = command.idempotencyKey;
  let receipt = await authorize();
  say({ did: 'authorize', key, authRequestId: receipt.authRequestId, replayed: receipt.replayed });
  if (dice.chance(0.1)) {
    receipt = await authorize();
    say({ did: 'authorize', key, authRequestId: receipt.authRequestId, replayed: receipt.replayed });
  }
  const ref = { restaurantId: command.restaurantId, authRequestId: receipt.authRequestId };
  if (dice.chance(0.4)) await takeBack(shards, ref, key);
});

interface Ref {
  readonly restaurantId: string;
  readonly authRequestId: string;
}

/** For some seconds. */
async function answered(shards: Shards, ref: Ref): Promise<void> {
  for (let looks = 0; looks < 20; looks++) {
    await delay(500);
    const request = await insistAt(shards, ref, ({ requests }) => requests.get(ref));
    if (request?.status !== 'PENDING' && request?.status !== 'PROCESSING') return;
  }
}

async function takeBack(shards: Shards, ref: Ref, key: string): Promise<void> {
  // Before a worker has it, while one asks, or after the answer.
  if (dice.chance(0.5)) await answered(shards, ref);
  else await delay(dice.chance(0.3) ? dice.between(0, 50) : dice.between(0, 8_000));
  const idempotencyKey = `${key} void`;
  const command = { ...ref, idempotencyKey, reason: 'guest left', correlationId: idempotencyKey };
  try {
    const { status, outcome: how } = await insistAt(shards, ref, ({ requests }) => requests.requestVoid(command));
    say({ did: 'void', authRequestId: ref.authRequestId, status, correlationId: idempotencyKey, how });
  } catch (error) {
    if (!(error instanceof NotVoidableError)) throw error;
    say({ met: error.code });
  }
}
