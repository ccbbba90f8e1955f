import { type Contestant } from '../contestant';
import { describeLoad, isOpen } from './load';
import { drive } from './loops';
import { type Measured, type Sample, toSample } from './sample';

/** Tells the CPU time that the server has used so far, in microseconds. */
type ServerClock = () => number | undefined;

export interface Rounds {
  readonly rounds: number;
  readonly seconds: number;
  /** How many times `seconds` a contestant is warmed up, unless it is warm before. */
  readonly warmUps: number;
  readonly serverMicros: ServerClock;
}

/** The compiler takes about so many until `AuthRequests.authorize` gets no faster. */
const WARM_AFTER = 30_000;

/**
 * Samples of every contestant, one a round, in the order of the contestants. Within a round they take short turns, until
 * each has had `seconds` of them: what they are compared by was measured at the same time. What comes before the first
 * round is thrown away: it connects, prepares statements and lets the compiler see the code.
 */
export async function measureInRounds(
  contestants: readonly Contestant[],
  { rounds, seconds, warmUps, serverMicros }: Rounds,
  progress: (text: string) => void,
): Promise<Sample[][]> {
  for (const contestant of contestants.filter(isLastOfItsName)) {
    progress(`warming up: ${contestant.title}`);
    await warmUp(contestant, seconds, warmUps);
  }
  const samples: Sample[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const measured = await measureInTurns(contestants, seconds, round, serverMicros);
    measured.forEach((sample, index) => samples[index]!.push(sample));
    const rates = contestants.map(({ name, load }, index) => {
      return `${name} (${describeLoad(load)}) ${Math.round(samples[index]!.at(-1)!.perSecond)}`;
    });
    progress(`round ${round + 1} of ${rounds}, per second: ${rates.join(', ')}`);
  }
  return samples;
}

/** It has the most callers, and so connects all that is going to be used. */
const isLastOfItsName = ({ name }: Contestant, index: number, all: readonly Contestant[]) =>
  all.findLastIndex((each) => each.name === name) === index;

async function warmUp(contestant: Contestant, seconds: number, turns: number): Promise<void> {
  let operations = 0;
  for (let turn = 0; turn < turns && operations < WARM_AFTER; turn++) {
    await contestant.beforeSample?.(seconds);
    operations += (await takeTurn(contestant, seconds, () => undefined)).operations;
    if ('run' in contestant) return;
  }
}

/** Each step begins with another contestant, and each round too. */
async function measureInTurns(
  contestants: readonly Contestant[],
  seconds: number,
  round: number,
  serverMicros: ServerClock,
): Promise<Sample[]> {
  for (const contestant of contestants) await contestant.beforeSample?.(seconds);
  const turns = contestants.map((contestant) => Math.max(1, Math.round(seconds / lengthOfTurn(contestant))));
  const measured: Measured[][] = contestants.map(() => []);
  const steps = Math.max(...turns);
  for (let step = 0; step < steps; step++) {
    for (let place = 0; place < contestants.length; place++) {
      const index = (round + step + place) % contestants.length;
      const due = Math.round((turns[index]! * (step + 1)) / steps);
      if (measured[index]!.length < due)
        measured[index]!.push(await takeTurn(contestants[index]!, seconds / turns[index]!, serverMicros));
    }
  }
  return contestants.map(({ load }, index) => toSample(measured[index]!, load));
}

/**
 * In seconds. What else a machine does lasts longer, and slows whoever's turn it is. Many callers begin and end a turn
 * together, so that theirs must be longer to show what comes in between; an open loop and what measures itself are not
 * cut up.
 */
function lengthOfTurn(contestant: Contestant): number {
  if ('run' in contestant || isOpen(contestant.load)) return Infinity;
  return Math.max(0.25, contestant.load.callers / 512);
}

async function takeTurn(contestant: Contestant, seconds: number, serverMicros: ServerClock): Promise<Measured> {
  if ('operate' in contestant) return await drive(() => contestant.operate(), contestant.load, seconds, serverMicros);
  const before = serverMicros();
  const measured = await contestant.run(seconds);
  const after = serverMicros();
  return before === undefined || after === undefined ? measured : { ...measured, serverMicros: after - before };
}
