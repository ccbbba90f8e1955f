import { Injectable } from '@nestjs/common';
import {
  type BegunAttempt,
  type HoldToVoid,
  type ProcessorAnswer,
  type RequestRef,
  type RestaurantPaymentConfig,
  type VoidAnswer,
} from 'payment-events-db';
import { PROCESSOR_URL } from './environment';

/** For how long it may think, in milliseconds. */
const ANSWER_WITHIN_MS = 4_000;

/** What it says of an authorization. */
interface Line {
  readonly id: string;
  readonly state: 'held' | 'declined' | 'voided' | 'captured';
  readonly amountCents: number;
  readonly currency: string;
  readonly authorizationCode: string;
  readonly declineCode: string;
}

/** The payment processor's client. An idempotency key with each question: asked twice, it authorizes once. */
@Injectable()
export class Processor {
  async authorize(
    { processorName, configVersion }: RestaurantPaymentConfig,
    { restaurantId, authRequestId, paymentToken, amountCents, currency }: BegunAttempt & RequestRef,
    signal: AbortSignal,
  ): Promise<ProcessorAnswer> {
    // A real one needs its API key: RestaurantPaymentConfigs.getVersion gives it, opened.
    const question = { account: `${restaurantId} ${configVersion}`, paymentToken, amountCents, currency };
    const answer = await ask('/authorizations', question, authRequestId, signal);
    if ('errorCode' in answer)
      return { outcome: answer.wasAsked ? 'unknown' : 'not_asked', ...failure(answer.errorCode) };
    const { state, declineCode: denialCode } = answer;
    if (state === 'declined') return { outcome: 'denied', processorName, denialCode };
    return {
      outcome: 'authorized',
      processorName,
      processorAuthId: answer.id,
      authorizedAmountCents: answer.amountCents,
      currency: answer.currency,
      authorizationCode: answer.authorizationCode,
    };
  }

  async void({ processorAuthId }: HoldToVoid, signal: AbortSignal): Promise<VoidAnswer> {
    const answer = await ask(`/authorizations/${processorAuthId}/void`, {}, `void ${processorAuthId}`, signal);
    if ('errorCode' in answer) return { outcome: 'failed', ...failure(answer.errorCode) };
    if (answer.state === 'captured') return { outcome: 'captured', amountCents: answer.amountCents };
    return { outcome: 'voided' };
  }
}

/** Nothing that was asked: neither a token nor a customer. */
const failure = (errorCode: string) => ({ errorCode, errorMessage: '', retryable: true });

interface NoAnswer {
  readonly errorCode: string;
  /** It may have done what it was asked. */
  readonly wasAsked: boolean;
}

async function ask(path: string, body: object, idempotencyKey: string, signal: AbortSignal): Promise<Line | NoAnswer> {
  try {
    const response = await fetch(new URL(path, PROCESSOR_URL), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': idempotencyKey },
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
    });
    if (response.ok) return (await response.json()) as Line;
    return { errorCode: `PROCESSOR_HTTP_${response.status}`, wasAsked: true };
  } catch (error) {
    if (isRefused(error)) return { errorCode: 'PROCESSOR_REFUSED', wasAsked: false };
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    return { errorCode: isLate ? 'PROCESSOR_TIMEOUT' : 'PROCESSOR_NO_ANSWER', wasAsked: true };
  }
}

/** There was no connection: it was asked nothing. */
const isRefused = (error: unknown): boolean =>
  error instanceof TypeError && (error.cause as { code?: unknown } | undefined)?.code === 'ECONNREFUSED';
