import { literals } from '../database/literals';

/** Where a request can stand, and what may follow. The guard of the table allows this and nothing else. */
export const TRANSITIONS = {
  PENDING: ['PROCESSING', 'FAILED', 'VOIDED', 'EXPIRED'],
  PROCESSING: ['AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED'],
  AUTHORIZED: ['VOIDED'],
  DENIED: [],
  FAILED: [],
  // Legacy workers do so.
  VOIDED: ['EXPIRED'],
  EXPIRED: [],
} as const;

/** One of {@link AUTH_REQUEST_STATUSES}. */
export type AuthRequestStatus = keyof typeof TRANSITIONS;

/** Every status, in the order of a request's life. */
export const AUTH_REQUEST_STATUSES = Object.keys(TRANSITIONS) as AuthRequestStatus[];

const isOneOf =
  (statuses: readonly AuthRequestStatus[]) =>
  (status: AuthRequestStatus): boolean =>
    statuses.includes(status);

/** Nobody knows the answer yet. */
export const OPEN: readonly AuthRequestStatus[] = ['PENDING', 'PROCESSING'];
export const isOpen = isOneOf(OPEN);

/** The customer has an answer. */
export const isSettled = (status: AuthRequestStatus): boolean => !isOpen(status);

/** The customer was told no without the processor's word: an authorization that comes later must be released. */
export const CLOSED: readonly AuthRequestStatus[] = ['FAILED', 'VOIDED', 'EXPIRED'];
export const isClosed = isOneOf(CLOSED);

/** The customer may take it back. */
export const VOIDABLE: readonly AuthRequestStatus[] = [...OPEN, 'AUTHORIZED'];
export const isVoidable = isOneOf(VOIDABLE);

/** The same for SQL: `status IN (${SQL.open})`. */
export const SQL = { open: literals(OPEN), closed: literals(CLOSED), voidable: literals(VOIDABLE) };
