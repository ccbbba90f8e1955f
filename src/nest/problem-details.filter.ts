import { STATUS_CODES } from 'node:http';
import { type ArgumentsHost, Catch, type ExceptionFilter, Inject, Logger } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { type Observable, throwError } from 'rxjs';
import { InvalidCommandError, PaymentEventsDbError } from '../errors';

/** By their codes, where it is not 503 for what is retryable and 500 for the rest. As docs/reference/errors.md says. */
const HTTP_STATUS: Readonly<Record<string, number>> = {
  INVALID_COMMAND: 400,
  AUTH_REQUEST_NOT_FOUND: 404,
  CONFIG_NOT_FOUND: 404,
  OUTBOX_MESSAGE_NOT_FOUND: 404,
  AMBIGUOUS_HOLD: 409,
  AUTH_REQUEST_STATUS: 409,
  CONCURRENCY_CONFLICT: 409,
  CONFIG_CONFLICT: 409,
  EVENT_ID_CONFLICT: 409,
  HOLD_STATE: 409,
  NOT_VOIDABLE: 409,
  IDEMPOTENCY_KEY_REUSE: 422,
  // Not retryable at this database; the same HTTP request goes to the right one when the map has been reloaded.
  WRONG_SHARD: 503,
};

/** In seconds. */
const RETRY_AFTER = '1';

/**
 * Answers the errors of this package as problem details (RFC 9457), `application/problem+json`, on Express and on Fastify:
 * `title`, `status`, `detail`, the `code` of the error, and of a malformed command its `problems`. What is retryable is 503 with
 * `Retry-After`, and so is a restaurant that is moving to another database. Of 503 and 500 the client is told no more than that; what it was is logged.
 *
 * What does not come by HTTP is thrown on.
 *
 * @example
 * const forAll = { provide: APP_FILTER, useClass: ProblemDetailsFilter }; // among the providers of a module
 */
@Catch(PaymentEventsDbError)
export class ProblemDetailsFilter implements ExceptionFilter<PaymentEventsDbError> {
  readonly #logger = new Logger('ProblemDetailsFilter');
  readonly #adapterHost: HttpAdapterHost;

  constructor(@Inject(HttpAdapterHost) adapterHost: HttpAdapterHost) {
    this.#adapterHost = adapterHost;
  }

  /** Called by Nest. */
  catch(error: PaymentEventsDbError, host: ArgumentsHost): Observable<never> | void {
    // A microservice waits for an Observable: what is thrown there would end the process.
    if (host.getType() === 'rpc') return throwError(() => error);
    if (host.getType() !== 'http') throw error;
    const { httpAdapter } = this.#adapterHost;
    const response: unknown = host.switchToHttp().getResponse();
    const status = HTTP_STATUS[error.code] ?? (error.retryable ? 503 : 500);
    if (status >= 500) this.#log(error, status);
    if (httpAdapter.isHeadersSent(response)) return httpAdapter.end(response) as void;
    httpAdapter.setHeader(response, 'Content-Type', 'application/problem+json');
    if (status === 503) httpAdapter.setHeader(response, 'Retry-After', RETRY_AFTER);
    // As text: to an object the adapters of Nest 11 would give the type application/json.
    httpAdapter.reply(response, JSON.stringify(problemOf(error, status)), status);
  }

  #log(error: PaymentEventsDbError, status: number): void {
    if (status === 503) this.#logger.warn(`${error.name}: ${error.message}`);
    else this.#logger.error(`${error.name}: ${error.message}`, error.stack);
  }
}

function problemOf(error: PaymentEventsDbError, status: number): object {
  return {
    title: STATUS_CODES[status],
    status,
    detail: status < 500 ? error.message : status === 503 ? TRY_AGAIN : FAILED,
    code: error.code,
    ...(error instanceof InvalidCommandError && { problems: error.problems }),
  };
}

const TRY_AGAIN = 'It cannot be done now. Send the same request again, with the same Idempotency-Key where it has one.';
const FAILED = 'The service cannot answer this request. Its log says why.';
