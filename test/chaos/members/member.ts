import 'reflect-metadata';
import '../../fixtures/relay/bound-to-test';
import { setTimeout as delay } from 'node:timers/promises';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { OutcomeUnknownError, PaymentEventsDbError } from '../../../src/errors';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { Dice } from '../dice';
import { say } from '../journal';

const { CHAOS_SEED, CHAOS_NAME, CHAOS_CALM, CHAOS_FROM, DATABASE_URL, BROKER_URL, PROCESSOR_URL } = process.env;

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
const STATEMENT_MS = CALM ? 30_000 : 8_000;

/** While there is trouble. */
export const happens = (probability: number): boolean => !CALM && dice.chance(probability);

export const isPassing = (error: unknown): error is PaymentEventsDbError =>
  error instanceof PaymentEventsDbError && (error.retryable || error instanceof OutcomeUnknownError);

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

/** Opens the database, which may be away, and runs so many loops on it for ever. What leaves one is a fault. */
export async function work(
  loops: number,
  loop: (dataSource: PaymentEventsDataSource, number: number) => Promise<void>,
): Promise<void> {
  const settings = { url: DATABASE_URL!, applicationName: NAME, poolSize: 4, statementTimeoutMs: STATEMENT_MS };
  let dataSource: PaymentEventsDataSource | undefined;
  while (!dataSource)
    dataSource = await quietDataSource({ ...settings, answerTimeoutMs: STATEMENT_MS }).catch(() => undefined);
  say({ ready: NAME });
  for (let started = 0; started < loops; started++) {
    void (async () => {
      for (;;) {
        await loop(dataSource, started).catch((error: unknown) => {
          say({ fault: error instanceof Error ? `${NAME}: ${error.stack}` : String(error) });
          return delay(500);
        });
      }
    })();
  }
}
