import { type Lab } from './lab/lab';
import { type Load } from './measure';

/** One way of doing a thing, to be measured beside others. */
export interface Contestant {
  /** What results and bars call it. */
  readonly name: string;
  readonly title: string;
  /** Gets ready for a sample of so many seconds; not measured. */
  beforeSample?(seconds: number): Promise<void>;
  /** One operation. Many run at once. Where it is several at a time, it says how many. */
  operate(): Promise<unknown>;
}

/** How much faster one has to be than another: the median of its ratio in each round. */
export interface Bar {
  readonly of: string;
  readonly against: string;
  readonly atLeast: number;
  /** `required`: the run fails below it. `reported`: what we expect; it depends on somebody else's code. */
  readonly kind: 'required' | 'reported';
}

/** Ways of doing the same thing. */
export interface Comparison {
  readonly name: string;
  readonly title: string;
  /** What is counted, in the plural. */
  readonly unit: string;
  /** The contestant that is 1.00 in the table. */
  readonly reference: string;
  readonly bars: readonly Bar[];
  /** Where something else is to be measured than the options say. */
  readonly load?: Load;
  /** Builds databases and contestants. One whose package is not installed is left out, with a word to `lab.notice`. */
  prepare(lab: Lab): Promise<Contestant[]>;
}
