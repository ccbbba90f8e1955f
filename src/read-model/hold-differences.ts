import { type FieldValue } from './differences';
import { type FoldedHold } from './fold-holds';

/** What `auth_holds` holds of what the events decide, times left out; other writers may have put any state there. */
export type HoldRow = Omit<
  FoldedHold,
  'amountCents' | 'endedAmountCents' | 'state' | Extract<keyof FoldedHold, `${string}At` | 'stateSince' | 'isUndecided'>
> & {
  state: string;
  /** Beyond 2^53 − 1, where no event can hold it, its digits. */
  amountCents: number | string;
  endedAmountCents: number | string | null;
};

/** A column of `auth_holds`, by its name in `AuthHold`, and what it holds and should hold. */
export interface HoldFieldDifference {
  field: keyof HoldRow;
  /** Null also where there is no row. */
  inRow: FieldValue;
  /** Null also where no event tells of such a hold. */
  byEvents: FieldValue;
}

/** A hold whose row is not what the events of its request say. */
export interface HoldDifference {
  readonly processorName: string;
  readonly processorAuthId: string;
  /** `missing`: the events tell of it, and it has no row. `unexpected`: it has a row, and no event tells of it. */
  readonly kind: 'differs' | 'missing' | 'unexpected';
  readonly differences: HoldFieldDifference[];
}

/**
 * Never times, nor how often it was swept. Nor the event that made it: a client that knew no holds wrote the event alone,
 * and a later one made the row.
 */
const COMPARED_FIELDS = [
  'state',
  'isNeeded',
  'isAnswered',
  'amountCents',
  'currency',
  'configVersion',
  'endedAmountCents',
  'endedBy',
  'closedBy',
  'voidFailures',
  'lastVoidError',
  'lastEventSequence',
] as const satisfies (keyof HoldRow)[];

/** The holds of one request: those that differ, in the order in which the events tell of them, then those without events. */
export function holdDifferencesBetween(rows: readonly HoldRow[], byEvents: readonly FoldedHold[]): HoldDifference[] {
  const told = byEvents.flatMap((hold): HoldDifference[] => {
    const row = rows.find((other) => isSame(other, hold));
    const differences = fieldsThatDiffer(row, hold);
    if (row && differences.length === 0) return [];
    return [{ ...nameOf(hold), kind: row ? 'differs' : 'missing', differences }];
  });
  const untold = rows
    .filter((row) => !byEvents.some((hold) => isSame(row, hold)))
    .map((row): HoldDifference => ({
      ...nameOf(row),
      kind: 'unexpected',
      differences: fieldsThatDiffer(row, undefined),
    }));
  return [...told, ...untold];
}

type Named = Pick<FoldedHold, 'processorName' | 'processorAuthId'>;

const nameOf = ({ processorName, processorAuthId }: Named) => ({ processorName, processorAuthId });

const isSame = (one: Named, other: Named) =>
  one.processorName === other.processorName && one.processorAuthId === other.processorAuthId;

function fieldsThatDiffer(row: HoldRow | undefined, hold: FoldedHold | undefined): HoldFieldDifference[] {
  return COMPARED_FIELDS.filter((field) => field !== 'state' || !isEitherState(row, hold))
    .map((field) => ({ field, inRow: row?.[field] ?? null, byEvents: hold?.[field] ?? null }))
    .filter(({ inRow, byEvents }) => inRow !== byEvents);
}

/** What no event says is the row's to say: that nobody needs it and a void is due. */
const isEitherState = (row: HoldRow | undefined, hold: FoldedHold | undefined) =>
  row !== undefined && hold?.isUndecided === true && !hold.isNeeded && row.state === 'voiding';
