import { type StateRow } from './read-records';

/** A column of `auth_request_state`, by its name in {@link AuthRequestState}, and what it holds and should hold. */
export interface FieldDifference {
  field: keyof StateRow;
  /** Null also where there is no row. Not given for payment tokens, of which only the fact is told. */
  inRow?: string | number | boolean | Date | null;
  byEvents?: string | number | boolean | Date | null;
}

/**
 * What `verify` compares: never times, metadata or last_event_id, and not what only helps the operations along
 * (attempt_open, retry_count), which legacy writers did not keep.
 */
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
] as const satisfies (keyof StateRow)[];

/** What `rebuild` writes. */
export const REBUILT_FIELDS = [
  ...COMPARED_FIELDS,
  'restaurantId',
  'attemptOpen',
  'retryCount',
  'completedAt',
] as const satisfies (keyof StateRow)[];

/** An empty text and NULL are the same: protobuf cannot tell them apart, and legacy writers stored either. */
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

const comparable = (value: FieldDifference['inRow']) => (value === '' ? null : value);
