import { type Lab } from './lab/lab';
import { type Load } from './measure/load';
import { type Measured } from './measure/sample';

/** One way of doing a thing, to be measured beside others under one load. */
export type Contestant = {
  /** What bars call it; the same one under several loads has one name. */
  readonly name: string;
  readonly title: string;
  readonly load: Load;
  /** Gets ready for a sample of so many seconds; not measured. */
  beforeSample?(seconds: number): Promise<void>;
} & (
  | {
      /** One operation. Many run at once. Where it is several at a time, it says how many. */
      operate(): Promise<unknown>;
    }
  | {
      /** Measures itself for about so many seconds: another program, or one statement that takes as long. */
      run(seconds: number): Promise<Measured>;
    }
);

/** Under each number of callers, the most last. */
export const underEach = (
  callers: readonly number[],
  contestant: Pick<Contestant, 'name' | 'title'> & { operate(): Promise<unknown> },
): Contestant[] =>
  [...new Set(callers)].sort((a, b) => a - b).map((number) => ({ ...contestant, load: { callers: number } }));

/** One row of a table. Without `callers`: under the load that it does best under. */
export interface Side {
  readonly name: string;
  readonly callers?: number;
}

/** With so many callers. */
export const at = (callers: number, name: string): Side => ({ name, callers });

/** With as many callers as it does best with. */
export const best = (name: string): Side => ({ name });

/**
 * How one compares with another: the median of the ratio in each round. `required`: the run fails beyond it. `reported`:
 * what we expect; it depends on somebody else's code, or on the machine.
 */
export type Bar = {
  readonly of: Side;
  /** `offered`: the rate at which an open loop begins operations. */
  readonly against: Side | 'offered';
  readonly kind: 'required' | 'reported';
} & Limit;

export type Limit =
  | { /** Of operations a second. */ readonly atLeast: number }
  | { /** Of the server's CPU time for each operation. */ readonly atMost: number };

/** Ways of doing the same thing. */
export interface Comparison {
  readonly name: string;
  readonly title: string;
  /** What is counted, in the plural. */
  readonly unit: string;
  /** The contestant that is 1.00 in the table. */
  readonly reference: Side;
  /** The contestants that are this package's own; the others are what one would use instead, or a limit. */
  readonly ours: readonly string[];
  readonly bars: readonly Bar[];
  /** At most so long each contestant is measured in a round, whatever the options say. */
  readonly seconds?: number;
  /** Measured only with `--full`, or where it is named. */
  readonly onlyInFull?: boolean;
  /** Builds databases and contestants. One whose package is not installed is left out, with a word to `lab.notice`. */
  prepare(lab: Lab): Promise<Contestant[]>;
}
