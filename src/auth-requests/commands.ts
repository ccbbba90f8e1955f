import { IsIn, IsOptional, Matches } from 'class-validator';
import { JsonObject, TextMap } from '../validation/json-rules';
import { Currency, Flag, Instant, LONGEST_AGE_MS, Text, Uuid, WholeNumber, WiderThan } from '../validation/rules';

/** What any command may carry beside its own: where it comes from. */
export abstract class TracedCommand {
  /** Groups all that one incoming request caused. Kept in the event's metadata. */
  @IsOptional()
  @Text(1, 255)
  correlationId?: string;

  /** The event or message that caused this one. Kept in the event's metadata. */
  @IsOptional()
  @Text(1, 255)
  causationId?: string;

  /** For the outbox messages, such as a W3C `traceparent`. */
  @IsOptional()
  @TextMap()
  headers?: Record<string, string>;
}

/** What the event's metadata keeps of it. */
export const origin = ({ correlationId, causationId }: TracedCommand) => ({ correlationId, causationId });

/** A restaurant asks for a payment to be authorized. */
export class AuthorizeCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  /** Stands for the card. */
  @Text(1, 64)
  paymentToken: string;

  /** In the currency's minor unit: 1 to 2^53 − 1. */
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  amountCents: number;

  /** ISO 4217, upper case. */
  @Currency()
  currency: string;

  /** The restaurant's own, at most 255 characters. Lives 24 hours. */
  @Text(1, 255)
  idempotencyKey: string;

  /** JSON, of at most 100 levels and a million characters. Nothing personal, no card data. Default `{}`. */
  @IsOptional()
  @JsonObject()
  metadata?: Record<string, unknown>;
}

/** A restaurant takes a request back. */
export class VoidCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  @Text(1, 255)
  idempotencyKey: string;

  /** Why, in a word or a sentence. */
  @Text(0, 1000)
  reason: string;
}

/** Nobody waits for the answer any more. */
export class ExpireCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  @Text(0, 1000)
  reason: string;
}

const DAY_MS = 86_400_000;

/** A scheduler clears what nobody waits for any more. */
export class ExpireStaleCommand extends TracedCommand {
  /** Requests at least so old, in milliseconds, by the database's clock: 1 to a hundred years. */
  @WholeNumber(1, LONGEST_AGE_MS)
  olderThanMs: number;

  /**
   * And at most so old; more than `olderThanMs`. Default: of any age. With it the search reads no more than that part of the
   * table, without it all of it.
   */
  @IsOptional()
  @WiderThan('olderThanMs')
  @WholeNumber(1, LONGEST_AGE_MS)
  withinMs?: number;

  /** How many a transaction: 1 to 10,000. Default 500. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;

  /** Default `stale`. */
  @IsOptional()
  @Text(0, 1000)
  reason?: string;
}

/** Which requests to look for; see `listStuck` and `listUnsettled`. */
export class FindCommand {
  /** Made at least so long ago, in milliseconds, by the database's clock: 0 to a hundred years. */
  @WholeNumber(0, LONGEST_AGE_MS)
  olderThanMs: number;

  /**
   * And at most so long ago; more than `olderThanMs`. Default: any time ago. With it the search reads no more than that part
   * of the table, without it all of it.
   */
  @IsOptional()
  @WiderThan('olderThanMs')
  @WholeNumber(1, LONGEST_AGE_MS)
  withinMs?: number;

  /** At most so many, the oldest first: 1 to 10,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  limit?: number;
}

/** Which unsettled requests to look for. */
export class FindUnsettledCommand extends FindCommand {
  /** As for `startAttempt`: what has been unanswered for longer cannot be asked. In milliseconds, 0 to a hundred years. Default 24 hours. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;
}

/** One request of one restaurant. */
export class RequestRef {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;
}

/** A page of a restaurant's requests. */
export class ListCommand {
  @Uuid()
  restaurantId: string;

  /** At most so many: 1 to 1,000. Default 50. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  limit?: number;

  /** `next` of the page before. */
  @IsOptional()
  @Matches(/^-?\d{1,17}_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  after?: string;
}

/** A worker is about to ask the processor. */
export class StartAttemptCommand extends TracedCommand {
  /** The least that Stripe keeps a key (Stripe API reference, "Idempotent requests"). */
  static readonly DEFAULT_SETTLE_WITHIN_MS = DAY_MS;

  /** The version of the restaurant's configuration that the attempt is to go by. */
  @Text(1, 50)
  configVersion: string;

  /**
   * Go by that version although an attempt under another one was never answered, so that two processors may hold the
   * money; the other one stays listed as unsettled. Default false: then `startAttempt` says to settle the other first.
   */
  @IsOptional()
  @Flag()
  besideUnanswered?: boolean;

  /**
   * For how long the processor remembers an idempotency key, in milliseconds: 0 to a hundred years. What has been unanswered for longer is not
   * asked again, which could authorize anew. Default 24 hours.
   */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;

  /** Of the event. Calls under one lease that carry the same one are one call, repeated. Default: drawn anew. */
  @IsOptional()
  @Uuid()
  eventId?: string;
}

/** A person has found out what became of attempts that cannot be asked about. */
export class CloseUnansweredCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  /** Whose attempts to close: one of `unansweredVersions`. Empty for those of legacy services. */
  @Text(0, 50)
  configVersion: string;

  /** Who says so: a name of your staff's system. It stays in the event for good, so nothing personal. */
  @Text(1, 255)
  by: string;

  /** What was found: nothing is held, or the money has been released. */
  @Text(1, 1000)
  reason: string;
}

/** What a worker says of an attempt. */
abstract class RecordCommand extends TracedCommand {
  /**
   * Which attempt it is about: `attempt` of what `startAttempt` answered. Default: the last one that this lease has begun.
   * Say it where a lease begins several, so that a late or repeated answer to an earlier one is not taken for an answer to
   * the last; it then closes none, and what it leaves open is asked again.
   */
  @IsOptional()
  @WholeNumber(1, 2_147_483_647)
  attempt?: number;
}

/** The processor has said yes. */
export class AuthorizedCommand extends RecordCommand {
  @Text(1, 50)
  processorName: string;

  /** The processor's own id of the authorization. */
  @Text(1, 255)
  processorAuthId: string;

  /** At most what was asked for; 1 to 2^53 − 1. */
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  authorizedAmountCents: number;

  /** The one that was asked for. */
  @Currency()
  currency: string;

  @IsOptional()
  @Text(0, 100)
  authorizationCode?: string;

  /** By the processor's clock, of the years 1970 to 9999. Default: now. */
  @IsOptional()
  @Instant()
  authorizedAt?: Date;

  /** Kept in the event. Nothing personal, no card data. */
  @IsOptional()
  @TextMap()
  processorMetadata?: Record<string, string>;
}

/** The processor has said no. */
export class DeniedCommand extends RecordCommand {
  @Text(1, 50)
  processorName: string;

  @IsOptional()
  @Text(0, 50)
  denialCode?: string;

  @IsOptional()
  @Text(0, 1000)
  denialReason?: string;

  /** Kept in the event. Nothing personal, no card data. */
  @IsOptional()
  @TextMap()
  processorMetadata?: Record<string, string>;
}

/** The attempt came to nothing. */
export class FailureCommand extends RecordCommand {
  /** Such as `PROCESSOR_TIMEOUT`. */
  @Text(1, 100)
  errorCode: string;

  /** For people. Kept in the event. */
  @Text(0, 1000)
  errorMessage: string;

  /** Whether another attempt will follow. If not, the request is FAILED. */
  @Flag()
  retryable: boolean;

  /** When that attempt is due: a time of the years 1970 to 9999. */
  @IsOptional()
  @Instant()
  nextRetryAt?: Date;

  /**
   * `not_asked`: this attempt did not reach the processor. `unknown`: it may have authorized, as after a time-out; the
   * attempt then stays open until someone has asked again. `nothing_held`: the processor, asked the same
   * question again under the same key, has answered that it holds nothing, which is an answer to the earlier attempts of
   * the version as well. What a search finds is no such answer: a question may still be on its way.
   */
  @IsIn(['not_asked', 'unknown', 'nothing_held'])
  outcome: 'not_asked' | 'unknown' | 'nothing_held';
}
