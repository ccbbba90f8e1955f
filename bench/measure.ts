import { type Contestant } from './contestant';

export interface Load {
  /** Loops that each have one operation under way. */
  readonly connections: number;
  readonly seconds: number;
}

export interface Sample {
  readonly operations: number;
  readonly perSecond: number;
  /** Of this process, not of the server. Hardly depends on what else the machine does. */
  readonly cpuMicrosPerOperation: number;
}

/** A closed loop: what is under way at the end is waited for and counted. */
export async function measure(contestant: Contestant, { connections, seconds }: Load): Promise<Sample> {
  await contestant.beforeSample?.(seconds);
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  let end = start + seconds * 1000;
  let operations = 0;
  const loop = async () => {
    do {
      const done = await contestant.operate();
      operations += typeof done === 'number' ? done : 1;
    } while (performance.now() < end);
  };
  const stopAll = (error: unknown) => {
    end = 0;
    throw error;
  };
  const ended = await Promise.allSettled(Array.from({ length: connections }, () => loop().catch(stopAll)));
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(cpuBefore);
  for (const each of ended) if (each.status === 'rejected') throw each.reason;
  return { operations, perSecond: (operations / elapsed) * 1000, cpuMicrosPerOperation: (user + system) / operations };
}

/** The compiler takes about so many to get from 600 µs for one `AuthRequests.authorize` to 200. At most so many turns. */
const WARM_UP = { operations: 30_000, turns: 6 };

/**
 * Samples of every contestant, by its name. They take turns, and each round begins with another one. What comes before
 * the first round is thrown away: it connects, prepares statements and lets the compiler see the code.
 */
export async function measureInRounds(
  contestants: readonly Contestant[],
  { rounds, ...load }: Load & { rounds: number },
  progress: (text: string) => void,
): Promise<Map<string, Sample[]>> {
  for (const contestant of contestants) {
    progress(`warming up: ${contestant.title}`);
    let operations = 0;
    for (let turn = 0; turn < WARM_UP.turns && operations < WARM_UP.operations; turn++) {
      operations += (await measure(contestant, load)).operations;
    }
  }
  const samples = new Map<string, Sample[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const first = round % contestants.length;
    for (const contestant of [...contestants.slice(first), ...contestants.slice(0, first)]) {
      const sample = await measure(contestant, load);
      samples.get(contestant.name)?.push(sample);
      progress(`round ${round + 1} of ${rounds}: ${Math.round(sample.perSecond)} per second, ${contestant.title}`);
    }
  }
  return samples;
}
