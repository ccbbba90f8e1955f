import { KeyMissingError, KeyRefusedError, type KeyRefusedReason, KeyUnavailableError } from './errors';

type Meaning = 'unavailable' | 'missing' | KeyRefusedReason;

/**
 * The errors of AWS KMS by name, as its API reference has them for GenerateDataKey, Decrypt and ReEncrypt and under "Common
 * Error Types". The SDK does not say of all of them whether they may be tried again: `$retryable` is not set.
 */
const ERRORS: Readonly<Record<string, Meaning>> = {
  Throttling: 'unavailable',
  ThrottlingException: 'unavailable',
  ThrottledException: 'unavailable',
  TooManyRequestsException: 'unavailable',
  RequestLimitExceeded: 'unavailable',
  RequestThrottled: 'unavailable',
  RequestThrottledException: 'unavailable',
  SlowDown: 'unavailable',
  LimitExceededException: 'unavailable',
  KMSInternalException: 'unavailable',
  DependencyTimeoutException: 'unavailable',
  KeyUnavailableException: 'unavailable',
  InternalFailure: 'unavailable',
  InternalError: 'unavailable',
  InternalServerError: 'unavailable',
  ServiceUnavailable: 'unavailable',
  ServiceUnavailableException: 'unavailable',
  RequestTimeout: 'unavailable',
  RequestTimeoutException: 'unavailable',
  // Of the client: nobody answered, or what lends credentials did not.
  TimeoutError: 'unavailable',
  AbortError: 'unavailable',
  CredentialsProviderError: 'unavailable',

  NotFoundException: 'missing',

  AccessDenied: 'denied',
  AccessDeniedException: 'denied',
  NotAuthorized: 'denied',
  OptInRequired: 'denied',
  InvalidGrantTokenException: 'denied',

  AuthFailure: 'credentials',
  ExpiredToken: 'credentials',
  ExpiredTokenException: 'credentials',
  IncompleteSignature: 'credentials',
  IncompleteSignatureException: 'credentials',
  InvalidAccessKeyId: 'credentials',
  InvalidClientTokenId: 'credentials',
  InvalidSignatureException: 'credentials',
  MissingAuthenticationToken: 'credentials',
  MissingAuthenticationTokenException: 'credentials',
  RequestExpired: 'credentials',
  RequestTimeTooSkewed: 'credentials',
  SignatureDoesNotMatch: 'credentials',
  UnrecognizedClientException: 'credentials',

  DisabledException: 'disabled',
  KMSInvalidStateException: 'state',
  InvalidKeyUsageException: 'kind',
  IncorrectKeyException: 'mismatch',
  InvalidCiphertextException: 'mismatch',

  DryRunOperationException: 'request',
  InvalidArnException: 'request',
  SerializationException: 'request',
  UnknownOperationException: 'request',
  UnsupportedOperationException: 'request',
  ValidationError: 'request',
  ValidationException: 'request',
};

/**
 * An error of ours for what the client of AWS KMS threw. It has nothing of the other but its name: a message of the SDK may
 * quote headers, ARNs or an answer.
 */
export function toKeyError(error: unknown, keyId: string): KeyUnavailableError | KeyMissingError | KeyRefusedError {
  const meaning = meaningOf(error);
  if (meaning === 'unavailable') return new KeyUnavailableError(keyId, reasonOf(error));
  return meaning === 'missing' ? new KeyMissingError(keyId) : new KeyRefusedError(keyId, meaning);
}

export function meaningOf(error: unknown): Meaning {
  const { name, code, $metadata } = error as SdkError;
  if (Object.hasOwn(ERRORS, name)) return ERRORS[name]!;
  const status = $metadata?.httpStatusCode;
  // What is neither an answer nor an error of KMS comes from something on the way to it.
  if (status !== undefined) return status >= 400 && status < 500 ? 'request' : 'unavailable';
  if (BUGS.includes(name) || code?.startsWith('ERR_INVALID_')) return 'request';
  // Once something was sent there are metadata, in which nobody's answer has a status.
  return code !== undefined || $metadata !== undefined ? 'unavailable' : 'request';
}

/** By name: in a test runner there is more than one class of each. */
const BUGS: readonly string[] = ['TypeError', 'RangeError', 'SyntaxError'];

/** The name of an error may be what a server says it is. */
function reasonOf(error: unknown): string {
  const { name, code } = error as SdkError;
  if (name === 'AbortError') return 'TimeoutError';
  const reason = code ?? name;
  return typeof reason === 'string' && /^[\w.]{1,64}$/.test(reason) ? reason : 'an unknown error';
}

interface SdkError extends Error {
  code?: string;
  $metadata?: { httpStatusCode?: number };
}

/** For the tests of this table. */
export const KMS_ERRORS: readonly (readonly [name: string, meaning: Meaning])[] = Object.entries(ERRORS);
