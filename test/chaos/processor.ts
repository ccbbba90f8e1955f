import { type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import '../fixtures/relay/bound-to-test';
import { Dice } from './dice';
import { serve } from './http';
import { Ledger } from './ledger';

/** What a processor is asked. */
export interface Question {
  readonly account: string;
  readonly key: string;
  readonly amountCents: number;
  readonly currency: string;
}

/**
 * A payment processor as a process of its own. While it has trouble it gets a question late, loses it, answers it and
 * loses the answer, never answers, or answers nonsense: what it has done it keeps all the same.
 */
async function main(): Promise<void> {
  const dice = new Dice(`${process.env.CHAOS_SEED} processor`);
  const ledger = new Ledger(new Dice(`${process.env.CHAOS_SEED} ledger`));
  let trouble = true;
  let underWay = 0;

  async function withTrouble(act: () => unknown, response: ServerResponse): Promise<unknown> {
    const happens = (probability: number) => trouble && dice.chance(probability);
    if (happens(0.05)) return void response.destroy();
    if (happens(0.08)) await delay(dice.between(100, 6_000));
    const answer = act();
    if (happens(0.08)) return void response.destroy();
    if (happens(0.05)) return undefined;
    if (happens(0.04)) return void response.end('<html>502');
    return answer;
  }

  const { url } = await serve(async (path, question: Question & { id: string }, response) => {
    if (path === '/ledger') return ledger.lines;
    if (path === '/calm') {
      trouble = false;
      while (underWay > 0) await delay(20);
      return {};
    }
    underWay++;
    try {
      const { account, key, amountCents, currency, id } = question;
      return await withTrouble(() => {
        if (path === '/void') return { voided: ledger.void(id) };
        if (path === '/inquire') return ledger.inquire(account, key);
        return ledger.authorize(account, key, amountCents, currency);
      }, response);
    } finally {
      underWay--;
    }
  });
  process.stdout.write(`${JSON.stringify({ ready: url })}\n`);
}

void main();
