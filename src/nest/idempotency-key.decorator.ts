import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { InvalidCommandError } from '../errors';

/** Of every command that has a key. */
const LONGEST_KEY = 255;

/**
 * The request's `Idempotency-Key`, as the IETF draft "The Idempotency-Key HTTP Header Field" has it: a string in double quotes
 * (RFC 8941). Without the quotes, as many clients send it, the same key is the same.
 *
 * Throws `InvalidCommandError` where it is missing, longer than 255 characters or malformed: a {@link ProblemDetailsFilter}
 * answers 400.
 *
 * @example
 * authorize(@IdempotencyKey() idempotencyKey: string) {
 *   return this.requests.authorize({ ...command, idempotencyKey });
 * }
 */
export const IdempotencyKey = createParamDecorator((_data: unknown, context: ExecutionContext): string => {
  const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>();
  return readIdempotencyKey(headers['idempotency-key']);
});

/** @throws InvalidCommandError */
export function readIdempotencyKey(header: string | undefined): string {
  if (header === undefined || header.trim() === '') throw invalid('must be sent');
  const [, quoted, bare] = FORM.exec(header.trim()) ?? [];
  const key = bare ?? quoted?.replace(/\\(.)/g, '$1');
  if (key === undefined)
    throw invalid('must be a string in double quotes (RFC 8941), or printable ASCII without spaces');
  if (key === '' || key.length > LONGEST_KEY) throw invalid(`must have 1 to ${LONGEST_KEY} characters`);
  return key;
}

/** In quotes, where a backslash stands before a quote or a backslash; or without. Node joins two headers to `a, b`. */
const FORM = /^(?:"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"|([\x21\x23-\x7e]+))$/;

const invalid = (problem: string) => new InvalidCommandError('Idempotency-Key', [problem]);
