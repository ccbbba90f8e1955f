import 'reflect-metadata';
import '../../fixtures/relay/bound-to-test';
import { setTimeout as delay } from 'node:timers/promises';
import { OutcomeUnknownError, PaymentEventsDbError, WrongShardError } from '../../../src/errors';
import { shardMapFromEnvironment } from '../../../src/shards/map-sources';
import { type Shard } from '../../../src/shards/shard';
import { Shards } from '../../../src/shards/shards';
import { Silence } from '../../support/database/quiet-data-source';
import { Dice } from '../dice';
import { say } from '../journal';

const { CHAOS_SEED, CHAOS_NAME, CHAOS_CALM, CHAOS_FROM, BROKER_URL, PROCESSOR_URL } = process.env;

export const NAME = CHAOS_NAME!;
/** Of the whole run. */
export const SEED = CHAOS_SEED!.split(' ')[0]!;
export const CALM = Boolean(CHAOS_CALM);
/** Where the process before this one may have left off. */
export const FROM = Number(CHAOS_FROM ?? 0);
export const QUEUES = BROKER_URL!;
export const PROCESSOR = PROCESSOR_URL!;
/** This process's own. */
export const dice = new Dice(CHAOS_SEED!);
/** Longest wait for anything over HTTP. What is to come to rest must not need a quick machine. */
export const ANSWER_MS = CALM ? 60_000 : 3_000;
const STATEMENT_MS = CALM ? 30_000 : 5_000;

/** While there is trouble. */
export const happens = (probability: number): boolean => !CALM && dice.chance(probability);

/** What may pass by itself: also that the newest map, as this process finds it, is not the newest. */
export const isPassing = (error: unknown): error is PaymentEventsDbError =>
  error instanceof PaymentEventsDbError &&
  (error.retryable || error instanceof OutcomeUnknownError || error instanceof WrongShardError);

/** Says what has gone wrong at a database. @throws what does not pass */
export function sayPassing({ error }: { error: PaymentEventsDbError }): void {
  if (isPassing(error)) return say({ met: error.code });
  throw error as Error;
}

/** Makes the same call again as long as what goes wrong may pass. */
export async function insist<T>(call: () => Promise<T>, tries = Infinity): Promise<T> {
  for (let made = 1; ; made++) {
    try {
      return await call();
    } catch (error) {
      if (!isPassing(error) || made >= tries) throw error;
      say({ met: error.code });
      await delay(dice.between(20, 300));
    }
  }
}

/** Like {@link insist}, at the database that has the restaurant by then. */
export const insistAt = <T>(
  shards: Shards,
  { restaurantId }: { restaurantId: string },
  call: (shard: Shard) => Promise<T>,
  tries?: number,
): Promise<T> => insist(() => shards.run(restaurantId, call), tries);

/** Reads the map and runs so many loops for ever on the databases, which may be away. What leaves one is a fault. */
export async function work(loops: number, loop: (shards: Shards, number: number) => Promise<void>): Promise<void> {
  const settings = { applicationName: NAME, poolSize: 4, statementTimeoutMs: STATEMENT_MS, logger: new Silence() };
  const shards = new Shards(shardMapFromEnvironment(), settings);
  await shards.open();
  say({ ready: NAME });
  for (let started = 0; started < loops; started++) {
    void (async () => {
      for (;;) {
        await loop(shards, started).catch((error: unknown) => {
          say({ fault: error instanceof Error ? `${NAME}: ${error.stack}` : String(error) });
          return delay(500);
        });
      }
    })();
  }
}
