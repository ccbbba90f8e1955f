import { setTimeout as delay } from 'node:timers/promises';
import { Histogram } from './histogram';
import { type ClosedLoop, isOpen, type Load, type OpenLoop } from './load';
import { type Measured } from './sample';

type Operate = () => Promise<unknown>;

/** Runs operations for so many seconds; what is under way at the end is waited for and counted. */
export async function drive(
  operate: Operate,
  load: Load,
  seconds: number,
  serverMicros: () => number | undefined,
): Promise<Measured> {
  const [serverBefore, cpuBefore, start] = [serverMicros(), process.cpuUsage(), performance.now()];
  const counted = await (isOpen(load) ? openLoop : closedLoop)(operate, load as OpenLoop & ClosedLoop, seconds);
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpuBefore);
  const serverAfter = serverMicros();
  return {
    ...counted,
    elapsedMs,
    clientMicros: user + system,
    ...(serverBefore !== undefined && serverAfter !== undefined && { serverMicros: serverAfter - serverBefore }),
  };
}

type Counted = Pick<Measured, 'operations' | 'latencies'>;

async function closedLoop(operate: Operate, { callers }: ClosedLoop, seconds: number): Promise<Counted> {
  const counter = new Counter(operate);
  const end = performance.now() + seconds * 1_000;
  const caller = async () => {
    do await counter.call(performance.now());
    while (performance.now() < end && !counter.failed);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return counter.result();
}

/** A Poisson process. A timer of Node waits for a millisecond: those that are due by then begin together. */
async function openLoop(operate: Operate, { offered }: OpenLoop, seconds: number): Promise<Counted> {
  const counter = new Counter(operate);
  const start = performance.now();
  const due = Float64Array.from(
    { length: Math.ceil(offered * seconds) },
    () => start + Math.random() * seconds * 1_000,
  );
  due.sort();
  const underWay: Promise<void>[] = [];
  while (underWay.length < due.length && !counter.failed) {
    while (due[underWay.length]! <= performance.now()) underWay.push(counter.call(due[underWay.length]!));
    await delay(1);
  }
  await Promise.all(underWay);
  return counter.result();
}

/** Counts calls and keeps the first error: a loop that has failed ends, and only then throws. */
class Counter {
  readonly #latencies = new Histogram();
  #operations = 0;
  #error: { readonly reason: unknown } | undefined;

  constructor(private readonly operate: Operate) {}

  get failed(): boolean {
    return this.#error !== undefined;
  }

  async call(since: number): Promise<void> {
    try {
      const done = await this.operate();
      this.#latencies.record(performance.now() - since);
      this.#operations += typeof done === 'number' ? done : 1;
    } catch (reason) {
      this.#error ??= { reason };
    }
  }

  result(): Counted {
    if (this.#error) throw this.#error.reason;
    return { operations: this.#operations, latencies: this.#latencies };
  }
}
