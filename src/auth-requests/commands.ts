import { IsBoolean, IsDate, IsIn, IsInt, IsOptional, Matches, Max, Min } from 'class-validator';
import { JsonObject, Text, TextMap, Uuid } from '../validation/rules';

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
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  amountCents: number;

  /** ISO 4217, upper case. */
  @Matches(/^[A-Z]{3}$/)
  currency: string;

  /** The restaurant's own, at most 255 characters. Lives 24 hours. */
  @Text(1, 255)
  idempotencyKey: string;

  /** JSON. Nothing personal, no card data. Default `{}`. */
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
/** A year. */
const MAX_MS = 365 * DAY_MS;

/** A scheduler clears what nobody waits for any more. */
export class ExpireStaleCommand extends TracedCommand {
  static readonly DEFAULT_WITHIN_MS = 7 * DAY_MS;

  /** Requests at least so old, in milliseconds, by the database's clock. */
  @IsInt()
  @Min(1)
  olderThanMs: number;

  /** And at most so old: what keeps the search small. Default: a week. */
  @IsOptional()
  @IsInt()
  @Min(1)
  withinMs?: number;

  /** How many a transaction. Default 500. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10_000)
  batchSize?: number;

  /** Default `stale`. */
  @IsOptional()
  @Text(0, 1000)
  reason?: string;
}

/** Which requests to look for; see `listStuck` and `listUnsettled`. */
export class FindCommand {
  static readonly DEFAULT_WITHIN_MS = 30 * DAY_MS;

  /** Made at least so long ago, in milliseconds, by the database's clock. */
  @IsInt()
  @Min(0)
  olderThanMs: number;

  /** And at most so long ago: what keeps the search small. Default: 30 days. */
  @IsOptional()
  @IsInt()
  @Min(1)
  withinMs?: number;

  /** At most so many, the oldest first. Default 100. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10_000)
  limit?: number;
}

/** Which unsettled requests to look for. */
export class FindUnsettledCommand extends FindCommand {
  /** As for `startAttempt`: what has been unanswered for longer cannot be asked. In milliseconds. Default 24 hours. */
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_MS)
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
  @IsInt()
  @Min(1)
  @Max(1000)
  limit?: number;

  /** `next` of the page before. */
  @IsOptional()
  @Matches(/^-?\d{1,18}_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
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
  @IsBoolean()
  besideUnanswered?: boolean;

  /**
   * For how long the processor remembers an idempotency key, in milliseconds. What has been unanswered for longer is not
   * asked again, which could authorize anew. Default 24 hours.
   */
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_MS)
  settleWithinMs?: number;

  /** Of the event. Calls that carry the same one are one call, repeated. Default: drawn anew, so each is an attempt. */
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

  /** Who says so. */
  @Text(1, 255)
  by: string;

  /** What was found: nothing is held, or the money has been released. */
  @Text(1, 1000)
  reason: string;
}

/** The processor has said yes. */
export class AuthorizedCommand extends TracedCommand {
  @Text(1, 50)
  processorName: string;

  /** The processor's own id of the authorization. */
  @Text(1, 255)
  processorAuthId: string;

  /** At most what was asked for. */
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  authorizedAmountCents: number;

  /** The one that was asked for. */
  @Matches(/^[A-Z]{3}$/)
  currency: string;

  @IsOptional()
  @Text(0, 100)
  authorizationCode?: string;

  /** By the processor's clock. Default: now. */
  @IsOptional()
  @IsDate()
  authorizedAt?: Date;

  /** Kept in the event. Nothing personal, no card data. */
  @IsOptional()
  @TextMap()
  processorMetadata?: Record<string, string>;
}

/** The processor has said no. */
export class DeniedCommand extends TracedCommand {
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
export class FailureCommand extends TracedCommand {
  /** Such as `PROCESSOR_TIMEOUT`. */
  @Text(1, 100)
  errorCode: string;

  /** For people. Kept in the event. */
  @Text(0, 1000)
  errorMessage: string;

  /** Whether another attempt will follow. If not, the request is FAILED. */
  @IsBoolean()
  retryable: boolean;

  /** When that attempt is due. */
  @IsOptional()
  @IsDate()
  nextRetryAt?: Date;

  /**
   * `not_asked`: this attempt did not reach the processor. `unknown`: it may have authorized, as after a time-out; the
   * attempt then stays open until someone has asked again. `nothing_held`: the processor has answered that it holds
   * nothing under this key, which is an answer to the earlier attempts of the version as well.
   */
  @IsIn(['not_asked', 'unknown', 'nothing_held'])
  outcome: 'not_asked' | 'unknown' | 'nothing_held';
}
