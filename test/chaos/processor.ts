import { type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import '../fixtures/relay/bound-to-test';
import { Dice } from './dice';
import { serve } from './http';
import { Ledger, type Line } from './ledger';
import { Webhooks } from './webhooks';

/** What a processor is asked. */
export interface Question {
  readonly account: string;
  readonly key: string;
  readonly amountCents: number;
  readonly currency: string;
}

/**
 * A payment processor as a process of its own. While it has trouble it gets a question late, loses it, answers it and
 * loses the answer, never answers, or answers nonsense: what it has done it keeps all the same. Meanwhile it captures
 * holds, wholly or in part, lets them lapse and voids them by itself, and tells of it.
 */
async function main(): Promise<void> {
  const dice = new Dice(`${process.env.CHAOS_SEED} processor`);
  const ledger = new Ledger(new Dice(`${process.env.CHAOS_SEED} ledger`));
  const webhooks = new Webhooks(process.env.BROKER_URL!, new Dice(`${process.env.CHAOS_SEED} webhooks`));
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

  /** It tells of some of what it was asked to do, and of all that it does by itself. */
  const tells = () => dice.chance(0.5);
  function authorize(...question: Parameters<Ledger['authorize']>): Line {
    const { line, isNew } = ledger.authorize(...question);
    if (isNew && line.state === 'held' && tells()) webhooks.tell('authorized', line);
    return line;
  }
  function release(id: string): { state: Line['state'] | 'unknown'; endedCents: number | undefined } {
    const { line, isNew } = ledger.void(id);
    if (isNew && tells()) webhooks.tell('voided', line!);
    return { state: line?.state ?? 'unknown', endedCents: line?.endedCents };
  }
  async function endByItself(): Promise<void> {
    while (trouble) {
      await delay(dice.between(100, 400));
      const ended = trouble ? ledger.endSomething() : undefined;
      if (ended) webhooks.tell(ended.ending, ended.line);
    }
  }
  void endByItself();

  const { url } = await serve(async (path, question: Question & { id: string }, response) => {
    if (path === '/ledger') return ledger.lines;
    if (path === '/webhooks') return webhooks.told;
    if (path === '/calm') {
      trouble = false;
      while (underWay > 0) await delay(20);
      await webhooks.calm();
      return {};
    }
    underWay++;
    try {
      const { account, key, amountCents, currency, id } = question;
      return await withTrouble(() => {
        if (path === '/void') return release(id);
        if (path === '/inquire') return ledger.inquire(account, key);
        return authorize(account, key, amountCents, currency);
      }, response);
    } finally {
      underWay--;
    }
  });
  process.stdout.write(`${JSON.stringify({ ready: url })}\n`);
}

void main();
