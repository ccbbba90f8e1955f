import { type StateRow } from './read-records';

export type FieldValue = string | number | bigint | boolean | Date | readonly string[] | null;

/** A column of `auth_request_state`, by its name in {@link AuthRequestState}, and what it holds and should hold. */
export interface FieldDifference {
  field: keyof StateRow;
  /** Null also where there is no row. Not given for payment tokens, of which only the fact is told. */
  inRow?: FieldValue;
  byEvents?: FieldValue;
}

/** What `verify` compares: never times, metadata or last_event_id. Of a current attempt that is closed nothing depends. */
export const COMPARED_FIELDS = [
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
  'retryCount',
] as const satisfies (keyof StateRow)[];

/** What `rebuild` writes. */
export const REBUILT_FIELDS = [
  ...COMPARED_FIELDS,
  'restaurantId',
  'attempt',
  'attemptVersion',
  'attemptToken',
  'unansweredSince',
  'completedAt',
] as const satisfies (keyof StateRow)[];

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
    .map((field) => ({ field, inRow: row?.[field] ?? null, byEvents: byEvents[field] }))
    .filter(({ inRow, byEvents }) => comparable(inRow) !== comparable(byEvents))
    .map((difference) => (difference.field === 'paymentToken' ? { field: difference.field } : difference));
}

const comparable = (value: FieldValue | undefined) =>
  (typeof value === 'object' && !(value instanceof Date) ? value?.toSorted().join('\0') : value) || null;
