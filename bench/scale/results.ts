import { type Conditions } from '../results';
import { ratios, type Spread, spread } from '../measure/statistics';
import { type OperationName, OPERATIONS } from './operations';

/** What one operation costs; of several databases, the sum of what they have used by the number of operations. */
export interface Cost {
  /** CPU time of the server, in microseconds: the median of the rounds. */
  readonly serverMicros: number;
  /** CPU time of the calling Node process, in microseconds: the median of the rounds. */
  readonly clientMicros: number;
  /** Written ahead, over all rounds. No checkpoint was among them, so that page images are not in it. */
  readonly walBytes: number;
  /** By which each table with its indexes has grown, over all rounds; at `relay` what a delivered message takes in the outbox. */
  readonly bytes: Readonly<Record<string, number>>;
  /** CPU of the server, round by round. */
  readonly rounds: readonly number[];
}

/** `one` and `four` databases with a fence each, and one without. */
export const ARMS = ['one', 'four', 'unfenced'] as const;
export type ArmName = (typeof ARMS)[number];

export type Costs = Readonly<Record<OperationName, Cost>>;

/** What a run came to; written as JSON. */
export interface ScaleResults {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly seconds: number;
  readonly conditions: Pick<
    Conditions,
    'postgres' | 'node' | 'typeorm' | 'pg' | 'platform' | 'cpu' | 'cores' | 'serverSettings' | 'rounds'
  > & {
    /** Of each database in each round. */
    readonly requests: number;
    /** Of each database, at once. */
    readonly callers: number;
  };
  readonly costs: Readonly<Record<ArmName, Costs>>;
}

export const QUANTITIES = { serverMicros: 'CPU of the server', walBytes: 'WAL', bytes: 'heap and indexes' } as const;
export type Quantity = keyof typeof QUANTITIES;

/** How far what four databases need may be from what one needs. */
export const TOLERANCE = 0.1;

/** Bytes that are less than this for an operation are the server's own bookkeeping and belong to none. */
const NOTHING = 16;

export interface Agreement {
  readonly operation: OperationName;
  readonly quantity: Quantity | 'fence';
  /** Four databases by one; of a fence, with by without. Of CPU: of their medians, and the ends of what each round has come to. */
  readonly ratio: Spread;
  readonly agrees: boolean;
}

/** What is compared: each quantity of each operation, and what the fence costs where a request is accepted. */
export function agreements({ costs: { one, four, unfenced } }: Pick<ScaleResults, 'costs'>): Agreement[] {
  const compared = OPERATIONS.flatMap((operation) => {
    const [alone, together] = [one[operation], four[operation]];
    const bytes = [alone, together].map(sizeOf) as [number, number];
    return [
      { operation, quantity: 'serverMicros' as const, ratio: ofMedians(together, alone) },
      ...grown(operation, 'walBytes', [alone.walBytes, together.walBytes]),
      ...grown(operation, 'bytes', bytes),
    ].map((each) => ({ ...each, agrees: Math.abs(each.ratio.median - 1) <= TOLERANCE }));
  });
  const fence = ofMedians(one.authorize, unfenced.authorize);
  return [
    ...compared,
    { operation: 'authorize', quantity: 'fence', ratio: fence, agrees: fence.median <= 1 + TOLERANCE },
  ];
}

/** The medians are what is computed with. A round of a short operation is a matter of some ticks, and autovacuum falls into one here and there. */
const ofMedians = (of: Pick<Cost, 'rounds'>, by: Pick<Cost, 'rounds'>): Spread => ({
  ...spread(ratios(of.rounds, by.rounds)),
  median: spread(of.rounds).median / spread(by.rounds).median,
});

function grown(operation: OperationName, quantity: Quantity, [one, four]: [number, number]) {
  return Math.max(one, four) < NOTHING ? [] : [{ operation, quantity, ratio: spread([four / one]) }];
}

export const sizeOf = ({ bytes }: Pick<Cost, 'bytes'>): number =>
  Object.values(bytes).reduce((sum, each) => sum + each, 0);
