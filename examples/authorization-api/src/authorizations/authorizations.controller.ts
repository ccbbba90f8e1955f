import { Body, Controller, Get, HttpCode, HttpStatus, Param, Post, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiHeader, ApiOkResponse } from '@nestjs/swagger';
import { type Response } from 'express';
import {
  AuthRequestNotFoundError,
  AuthRequests,
  type AwaitedRequest,
  PaymentEventsDbError,
  type RequestRef,
} from 'payment-events-db';
import { IdempotencyKey } from 'payment-events-db/nest';
import { ApiProblems } from '../openapi.js';
import { Authorization, AuthorizeBody, toAuthorization, VoidBody, VoidedAuthorization } from './authorizations.dto.js';
import { RestaurantId } from './restaurant-id.decorator.js';

/** For how long a client waits for a result before it is told to ask later. */
const WAIT_MS = 5_000;

const KEY_HEADER = { name: 'Idempotency-Key', required: true, description: 'Lives 24 hours' };
const MALFORMED = 'Something that was sent is malformed';
const NOT_FOUND = 'The restaurant has no such request';
const KEY_REUSE = 'The key was used for something else';
const TRY_AGAIN = 'Not now: send the same again, under the same key';

@ApiHeader({ name: 'Restaurant-Id', required: true })
@Controller('v1/authorize')
export class AuthorizationsController {
  constructor(private readonly requests: AuthRequests) {}

  @Post()
  @HttpCode(HttpStatus.OK)
  @ApiHeader(KEY_HEADER)
  @ApiOkResponse({ type: Authorization, description: 'The result' })
  @ApiAcceptedResponse({ type: Authorization, description: 'Accepted. Ask for the result at `Location`' })
  @ApiProblems({ 400: MALFORMED, 422: KEY_REUSE, 503: TRY_AGAIN })
  async authorize(
    @RestaurantId() restaurantId: string,
    @IdempotencyKey() idempotencyKey: string,
    @Body() body: AuthorizeBody,
    @Res({ passthrough: true }) response: Response,
  ): Promise<Authorization> {
    const { authRequestId, status } = await this.requests.authorize({ ...body, restaurantId, idempotencyKey });
    const request = await this.waitForResult({ restaurantId, authRequestId }, signalOf(response));
    if (!request?.settled) response.status(HttpStatus.ACCEPTED).location(`/v1/authorize/${authRequestId}`);
    return request ? toAuthorization(request) : { authRequestId, status: status ?? 'PENDING' };
  }

  @Get(':authRequestId')
  @ApiOkResponse({ type: Authorization })
  @ApiProblems({ 400: MALFORMED, 404: NOT_FOUND, 503: TRY_AGAIN })
  async get(
    @RestaurantId() restaurantId: string,
    @Param('authRequestId') authRequestId: string,
  ): Promise<Authorization> {
    const request = await this.requests.get({ restaurantId, authRequestId });
    if (!request) throw new AuthRequestNotFoundError(authRequestId);
    return toAuthorization(request);
  }

  @Post(':authRequestId/void')
  @HttpCode(HttpStatus.OK)
  @ApiHeader(KEY_HEADER)
  @ApiOkResponse({ type: VoidedAuthorization })
  @ApiProblems({ 400: MALFORMED, 404: NOT_FOUND, 409: 'Nothing is left to void', 422: KEY_REUSE, 503: TRY_AGAIN })
  async void(
    @RestaurantId() restaurantId: string,
    @IdempotencyKey() idempotencyKey: string,
    @Param('authRequestId') authRequestId: string,
    @Body() { reason }: VoidBody,
  ): Promise<VoidedAuthorization> {
    const receipt = await this.requests.requestVoid({ restaurantId, authRequestId, idempotencyKey, reason });
    return { authRequestId: receipt.authRequestId, status: receipt.status, outcome: receipt.outcome };
  }

  /** Undefined where it cannot be read now, or the client has gone: the request is accepted all the same. */
  private async waitForResult(ref: RequestRef, signal: AbortSignal): Promise<AwaitedRequest | undefined> {
    try {
      return await this.requests.waitForResult(ref, { timeoutMs: WAIT_MS, signal });
    } catch (error) {
      if (signal.aborted || (error instanceof PaymentEventsDbError && error.retryable)) return undefined;
      throw error;
    }
  }
}

/** Aborts when the client has gone. */
function signalOf(response: Response): AbortSignal {
  const connection = new AbortController();
  response.once('close', () => connection.abort());
  return connection.signal;
}
