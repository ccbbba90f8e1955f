import { Histogram } from './histogram';
import { isOpen, type Load } from './load';

/** What was seen for a while. */
export interface Measured {
  readonly operations: number;
  readonly elapsedMs: number;
  /** Of each call. In an open loop from when it was due, so that waiting for a slow one before it counts. */
  readonly latencies: Histogram;
  /** CPU time of this process. Undefined where another one does the work. */
  readonly clientMicros?: number;
  /** CPU time of all processes of the server. Undefined where the system does not tell. */
  readonly serverMicros?: number;
}

/** What a contestant came to in one round. */
export interface Sample {
  readonly operations: number;
  readonly elapsedMs: number;
  readonly perSecond: number;
  /** In an open loop: how many were to be begun a second. */
  readonly offered?: number;
  /** Milliseconds. */
  readonly p50: number | undefined;
  readonly p99: number | undefined;
  /** CPU time, in microseconds an operation. It moves less with the load of the machine than a rate does. */
  readonly clientMicros: number | undefined;
  readonly serverMicros: number | undefined;
}

export function toSample(turns: readonly Measured[], load: Load): Sample {
  const sum = (of: (turn: Measured) => number | undefined) =>
    turns.reduce<number | undefined>((total, turn) => {
      const value = of(turn);
      return total === undefined || value === undefined ? undefined : total + value;
    }, 0);
  const [operations, elapsedMs] = [sum((turn) => turn.operations)!, sum((turn) => turn.elapsedMs)!];
  const latencies = turns.reduce((all, turn) => all.add(turn.latencies), new Histogram());
  const each = (total: number | undefined) => (total === undefined ? undefined : total / operations);
  const known = (ms: number) => (Number.isNaN(ms) ? undefined : ms);
  return {
    operations,
    elapsedMs,
    perSecond: (operations / elapsedMs) * 1_000,
    ...(isOpen(load) && { offered: load.offered }),
    p50: known(latencies.quantile(0.5)),
    p99: known(latencies.quantile(0.99)),
    clientMicros: each(sum((turn) => turn.clientMicros)),
    serverMicros: each(sum((turn) => turn.serverMicros)),
  };
}
