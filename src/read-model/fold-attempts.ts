import { type PaymentEventBody } from '../event-store/event-codec';
import { type FoldableEvent } from './fold';

/** Which attempts of a request may still hold money, by its events. */
export interface FoldedAttempts {
  /** The number of the last AuthAttemptStarted: the current attempt. */
  attempt: number | null;
  /** The version that the current attempt goes by; empty for one of a legacy service. */
  attemptVersion: string | null;
  attemptToken: bigint | null;
  /** Nobody has recorded an answer to the current attempt, or that the processor was not asked. */
  attemptUnanswered: boolean;
  /** The versions under which earlier attempts are open, the oldest first. */
  unansweredVersions: string[];
  /** Since when something has been open without a break. */
  unansweredSince: Date | null;
  /** Anything is open. */
  attemptOpen: boolean;
}

export const noAttempts = (): FoldedAttempts => ({
  attempt: null,
  attemptVersion: null,
  attemptToken: null,
  attemptUnanswered: false,
  unansweredVersions: [],
  unansweredSince: null,
  attemptOpen: false,
});

/**
 * Error codes of the legacy worker that mean: the processor was not asked. After any other one it may hold money.
 */
const NOT_ASKED = new Set([
  'TOKEN_SERVICE_TIMEOUT',
  'TokenNotFound',
  'TokenExpired',
  'Forbidden',
  'NOT_FOUND',
  'CONFIG_NOT_FOUND',
]);

/** Whether the operations of this package wrote the event: then it says itself which attempt it is about. */
export const isTold = ({ metadata }: FoldableEvent): boolean => 'status_after' in metadata;

/**
 * Takes an event to the attempts. An answer is about the attempts made under one version of the configuration: the same
 * account at the processor, the same idempotency key. So the current attempt and the set of versions left unanswered say
 * what may be held; a flag or a counter would forget some of it.
 *
 * A legacy attempt was made without an idempotency key: its version is empty, and an answer is about itself alone.
 */
export function foldAttempts(attempts: FoldedAttempts, event: FoldableEvent): void {
  if (event.type === 'AuthAttemptStarted') start(attempts, event);
  else if (event.type === 'AuthAttemptFailed') fail(attempts, event);
  else if (event.type === 'AuthResponseReceived') {
    if (!isTold(event)) close(attempts, false);
    else if (isOfCurrent(attempts, event)) close(attempts, true);
  }
}

function start(attempts: FoldedAttempts, event: FoldableEvent & PaymentEventBody<'AuthAttemptStarted'>): void {
  const isLegacy = event.metadata.attempt !== event.sequenceNumber;
  if (attempts.attemptUnanswered) leaveUnanswered(attempts, attempts.attemptVersion!);
  attempts.attempt = event.sequenceNumber;
  attempts.attemptVersion = isLegacy ? '' : event.data.restaurantPaymentConfigVersion;
  attempts.attemptToken = tokenOf(event.metadata);
  attempts.attemptUnanswered = true;
  attempts.attemptOpen = true;
  attempts.unansweredSince ??= event.createdAt;
}

const LARGEST_BIGINT = 2n ** 63n - 1n;

function tokenOf({ fencing_token: token }: FoldableEvent['metadata']): bigint | null {
  if (typeof token !== 'string' || !/^\d{1,19}$/.test(token)) return null;
  return BigInt(token) <= LARGEST_BIGINT ? BigInt(token) : null;
}

function leaveUnanswered({ unansweredVersions }: FoldedAttempts, version: string): void {
  if (!unansweredVersions.includes(version)) unansweredVersions.push(version);
}

function fail(attempts: FoldedAttempts, event: FoldableEvent & PaymentEventBody<'AuthAttemptFailed'>): void {
  const { outcome, closed_version: closed } = event.metadata;
  if (typeof closed === 'string') return closeVersion(attempts, closed);
  if (!isTold(event)) {
    if (NOT_ASKED.has(event.data.errorCode)) close(attempts, false);
    return;
  }
  if (!isOfCurrent(attempts, event)) return;
  if (outcome === 'not_asked' || outcome === 'nothing_held') close(attempts, outcome === 'nothing_held');
}

const isOfCurrent = ({ attempt }: FoldedAttempts, { metadata }: FoldableEvent) =>
  attempt !== null && metadata.attempt === attempt;

/** Closes the current attempt, with the earlier ones of its version or without. */
function close(attempts: FoldedAttempts, withVersion: boolean): void {
  attempts.attemptUnanswered = false;
  if (withVersion && attempts.attemptVersion !== '') dropVersion(attempts, attempts.attemptVersion);
  tie(attempts);
}

/** A person has found out. */
function closeVersion(attempts: FoldedAttempts, version: string): void {
  if (attempts.attemptVersion === version) attempts.attemptUnanswered = false;
  dropVersion(attempts, version);
  tie(attempts);
}

function dropVersion(attempts: FoldedAttempts, version: string | null): void {
  attempts.unansweredVersions = attempts.unansweredVersions.filter((other) => other !== version);
}

function tie(attempts: FoldedAttempts): void {
  attempts.attemptOpen = attempts.attemptUnanswered || attempts.unansweredVersions.length > 0;
  if (!attempts.attemptOpen) attempts.unansweredSince = null;
}
