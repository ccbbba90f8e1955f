import { type Contestant } from './contestant';

export interface Load {
  /** Loops that each have one operation under way. */
  readonly connections: number;
  readonly seconds: number;
}

export interface Sample {
  readonly operations: number;
  readonly elapsedMs: number;
  readonly perSecond: number;
  /** Of this process, not of the server. Hardly depends on what else the machine does. */
  readonly cpuMicrosPerOperation: number;
}

/** A closed loop: what is under way at the end is waited for and counted. */
async function measure(contestant: Contestant, { connections, seconds }: Load): Promise<Sample> {
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
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpuBefore);
  for (const each of ended) if (each.status === 'rejected') throw each.reason;
  return toSample(operations, elapsedMs, user + system);
}

const toSample = (operations: number, elapsedMs: number, cpuMicros: number): Sample => ({
  operations,
  elapsedMs,
  perSecond: (operations / elapsedMs) * 1_000,
  cpuMicrosPerOperation: cpuMicros / operations,
});

const together = (a: Sample, b: Sample): Sample =>
  toSample(
    a.operations + b.operations,
    a.elapsedMs + b.elapsedMs,
    a.cpuMicrosPerOperation * a.operations + b.cpuMicrosPerOperation * b.operations,
  );

/** The compiler takes about so many until `AuthRequests.authorize` gets no faster. At most so many times `seconds`. */
const WARM_UP = { operations: 30_000, turns: 6 };

/** A turn in seconds. What else a machine does lasts longer, and slows whoever's turn it is. */
const TURN = 0.25;

/**
 * Samples of every contestant, one a round, by its name. Within a round they take short turns, until each has had
 * `seconds` of them: what they are compared by was measured at the same time. What comes before the first round is thrown
 * away: it connects, prepares statements and lets the compiler see the code.
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
      await contestant.beforeSample?.(load.seconds);
      operations += (await measure(contestant, load)).operations;
    }
  }
  const samples = new Map<string, Sample[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, sample] of await measureInTurns(contestants, load, round)) samples.get(name)!.push(sample);
    const rates = contestants.map(({ name }) => `${name} ${Math.round(samples.get(name)!.at(-1)!.perSecond)}`);
    progress(`round ${round + 1} of ${rounds}, per second: ${rates.join(', ')}`);
  }
  return samples;
}

/** Each turn begins with another one, and each round too. */
async function measureInTurns(
  contestants: readonly Contestant[],
  load: Load,
  round: number,
): Promise<Map<string, Sample>> {
  for (const contestant of contestants) await contestant.beforeSample?.(load.seconds);
  const turns = Math.ceil(load.seconds / TURN);
  const samples = new Map<string, Sample>();
  for (let turn = 0; turn < turns; turn++) {
    const first = (round + turn) % contestants.length;
    for (const contestant of [...contestants.slice(first), ...contestants.slice(0, first)]) {
      const sample = await measure(contestant, { ...load, seconds: load.seconds / turns });
      const before = samples.get(contestant.name);
      samples.set(contestant.name, before ? together(before, sample) : sample);
    }
  }
  return samples;
}
