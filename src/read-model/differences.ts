import { type StateRow } from './read-records';
import { type ReadShape } from './read-shape';

/** What a column holds, or would hold by the events. */
export type FieldValue = string | number | bigint | boolean | Date | readonly string[] | null;

/** A column of `auth_request_state`, by its name in {@link AuthRequestState}, and what it holds and should hold. */
export interface FieldDifference {
  field: keyof StateRow;
  /** Null also where there is no row. Not given for payment tokens, of which only the fact is told. */
  inRow?: FieldValue;
  byEvents?: FieldValue;
}

const COMPARED_FIELDS = [
  'status',
  'lastEventSequence',
  'amountCents',
  'currency',
  'paymentToken',
  'processorAuthId',
  'processorName',
  'authorizedAmountCents',
  'authorizationCode',
  'denialCode',
  'denialReason',
  'attemptOpen',
  'attemptUnanswered',
  'unansweredVersions',
  'attempt',
  'attemptVersion',
  'attemptToken',
  'retryCount',
] as const satisfies (keyof StateRow)[];

const REBUILT_FIELDS = [...COMPARED_FIELDS, 'restaurantId', 'completedAt'] as const satisfies (keyof StateRow)[];

const OF_ATTEMPTS = new Set<keyof StateRow>([
  'attemptOpen',
  'attemptUnanswered',
  'unansweredVersions',
  'retryCount',
  'attempt',
  'attemptVersion',
  'attemptToken',
]);

const thereIn = (shape: ReadShape) => (field: keyof StateRow) => shape.hasAttempts || !OF_ATTEMPTS.has(field);

/** What `verify` compares: never times, metadata or last_event_id, and of attempts what rows hold by now. */
export const comparedFields = (shape: ReadShape): (keyof StateRow)[] => COMPARED_FIELDS.filter(thereIn(shape));

/** What `rebuild` writes. */
export const rebuiltFields = (shape: ReadShape): (keyof StateRow)[] => REBUILT_FIELDS.filter(thereIn(shape));

/** Nothing depends on them once the current attempt is closed, and legacy rows do not have them then. */
const OF_AN_OPEN_ATTEMPT = new Set<keyof StateRow>(['attempt', 'attemptVersion', 'attemptToken']);

/**
 * An empty text and NULL are the same: protobuf cannot tell them apart, and legacy writers stored either. So is a count or
 * flag that is not set, against a row that is missing.
 */
export function differencesBetween(
  row: StateRow | undefined,
  byEvents: StateRow,
  fields: readonly (keyof StateRow)[],
): FieldDifference[] {
  return fields
    .filter((field) => byEvents.attemptUnanswered || !OF_AN_OPEN_ATTEMPT.has(field))
    .map((field) => ({ field, inRow: row?.[field] ?? null, byEvents: byEvents[field] }))
    .filter(({ inRow, byEvents }) => comparable(inRow) !== comparable(byEvents))
    .map((difference) => (difference.field === 'paymentToken' ? { field: difference.field } : difference));
}

const comparable = (value: FieldValue | undefined) => {
  if (typeof value !== 'object' || value instanceof Date || value === null) return value || null;
  return value.length > 0 ? JSON.stringify(value.toSorted()) : null;
};
