/**
 * Whose fault an error is. The account's and the broker's count against no message; the queue's is tried again, counted;
 * the message's own fails it at once; of an unclear one the relay finds out.
 */
export type SqsFault = 'broker' | 'queue' | 'message' | 'unclear';

/**
 * The codes of Amazon SQS, of a whole request or of one entry of a batch, by its API reference ("SendMessageBatch",
 * "Common Error Types") and what AWS answered with before. With the reason why each is whose.
 */
const CODES: Readonly<Record<string, readonly [SqsFault, why: string]>> = {
  // Throttling says nothing about a message, though SQS says `SenderFault: true`.
  RequestThrottled: ['broker', 'too many requests'],
  RequestThrottledException: ['broker', 'too many requests'],
  Throttling: ['broker', 'too many requests'],
  ThrottlingException: ['broker', 'too many requests'],
  ThrottledException: ['broker', 'too many requests'],
  TooManyRequestsException: ['broker', 'too many requests'],
  RequestLimitExceeded: ['broker', 'too many requests'],
  SlowDown: ['broker', 'too many requests'],
  OverLimit: ['broker', 'a quota of the queue or the account is used up'],

  InternalError: ['broker', 'SQS failed inside'],
  InternalFailure: ['broker', 'SQS failed inside'],
  InternalServerError: ['broker', 'SQS failed inside'],
  ServiceUnavailable: ['broker', 'SQS is away'],
  ServiceUnavailableException: ['broker', 'SQS is away'],
  ServiceFailure: ['broker', 'SQS is away'],
  RequestTimeout: ['broker', 'the request took too long to arrive'],
  RequestTimeoutException: ['broker', 'the request took too long to arrive'],

  AccessDenied: ['broker', 'a permission is missing'],
  AccessDeniedException: ['broker', 'a permission is missing'],
  AuthFailure: ['broker', 'the credentials are not accepted'],
  NotAuthorized: ['broker', 'a permission is missing'],
  OptInRequired: ['broker', 'the account is not subscribed'],
  ExpiredToken: ['broker', 'the credentials have expired'],
  ExpiredTokenException: ['broker', 'the credentials have expired'],
  RequestExpired: ['broker', "this machine's clock is wrong"],
  RequestTimeTooSkewed: ['broker', "this machine's clock is wrong"],
  IncompleteSignature: ['broker', 'the signature is wrong'],
  IncompleteSignatureException: ['broker', 'the signature is wrong'],
  InvalidSignatureException: ['broker', 'the signature is wrong, or this machine’s clock is'],
  SignatureDoesNotMatch: ['broker', 'the signature is wrong'],
  InvalidAccessKeyId: ['broker', 'the credentials are not accepted'],
  InvalidClientTokenId: ['broker', 'the credentials are not accepted'],
  UnrecognizedClient: ['broker', 'the credentials are not accepted'],
  UnrecognizedClientException: ['broker', 'the credentials are not accepted'],
  MissingAuthenticationToken: ['broker', 'there are no credentials'],
  MissingAuthenticationTokenException: ['broker', 'there are no credentials'],
  InvalidSecurity: ['broker', 'the endpoint wants HTTPS or another signature'],
  InvalidAddress: ['broker', 'the endpoint is not that of the queue'],
  InvalidAction: ['broker', 'the endpoint is not SQS'],
  UnknownOperationException: ['broker', 'the endpoint is not SQS'],
  UnsupportedOperation: ['broker', 'the endpoint does not do that'],

  KmsAccessDenied: ['broker', 'the key of the queue may not be used'],
  KmsDisabled: ['broker', 'the key of the queue is disabled'],
  KmsInvalidKeyUsage: ['broker', 'the key of the queue is of another kind'],
  KmsInvalidState: ['broker', 'the key of the queue cannot be used now'],
  KmsNotFound: ['broker', 'the key of the queue does not exist'],
  KmsOptInRequired: ['broker', 'the account is not subscribed to KMS'],
  KmsThrottled: ['broker', 'too many requests to KMS'],

  QueueDoesNotExist: ['queue', 'it can be made'],
  NonExistentQueue: ['queue', 'it can be made'],
  QueueDeletedRecently: ['queue', 'it can be made a minute later'],

  BatchEntryIdsNotDistinct: ['unclear', 'of the batch, not of one entry'],
  BatchRequestTooLong: ['message', 'too large, alone or together with others'],
  EmptyBatchRequest: ['unclear', 'of the batch, not of one entry'],
  InvalidAttributeName: ['message', 'a header has a name that SQS does not take'],
  InvalidAttributeValue: ['message', 'a header has a value that SQS does not take'],
  InvalidBatchEntryId: ['unclear', 'of the batch, not of one entry'],
  InvalidMessageContents: ['message', 'the body has characters that SQS does not take'],
  InvalidParameterCombination: ['message', 'a field of the entry is wrong'],
  InvalidParameterValue: ['message', 'a field of the entry is wrong'],
  MissingParameter: ['message', 'a field of the entry is missing'],
  TooManyEntriesInBatchRequest: ['unclear', 'of the batch, not of one entry'],
  ValidationError: ['message', 'a field of the entry is wrong'],
};

/** Codes come as `KmsDisabled`, `KMS.DisabledException` or `AWS.SimpleQueueService.NonExistentQueue`. */
export function faultOf(code: string): SqsFault {
  if (/^kms\b|^Kms[A-Z]/i.test(code)) return 'broker';
  const name = code.slice(code.search(/[^.#]*$/));
  return (Object.hasOwn(CODES, name) && CODES[name]![0]) || 'unclear';
}

/** For the tests of this table. */
export const SQS_CODES: readonly (readonly [code: string, fault: SqsFault])[] = Object.entries(CODES).map(
  ([code, [fault]]) => [code, fault],
);
