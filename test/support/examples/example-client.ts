import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';

/** What the API says of a request. */
export interface Authorization {
  readonly authRequestId: string;
  readonly status: string;
  readonly authorizedAmountCents?: number | null;
  readonly denialCode?: string | null;
}

/** An answer, and what it was to. */
export interface Answer {
  readonly method: 'get' | 'post';
  /** As the API's document names it. */
  readonly route: string;
  readonly status: number;
  readonly contentType: string;
  readonly location: string | null;
  readonly body: Authorization & { readonly code?: string; readonly outcome?: string };
}

/** A restaurant's client of the example's API. */
export class ExampleClient {
  /** Every answer that it ever got. */
  readonly answers: Answer[] = [];

  constructor(
    private readonly url: () => string,
    private readonly restaurantId: string,
  ) {}

  async authorize(paymentToken: string, { key = uuidv4(), url = this.url(), ...changes }: Sending = {}) {
    const body = { paymentToken, amountCents: 1050, currency: 'USD', ...changes };
    return await this.#send('post', '/v1/authorize', { key, url, body });
  }

  async get(authRequestId: string) {
    return await this.#send('get', '/v1/authorize/{authRequestId}', { authRequestId });
  }

  async void(authRequestId: string, key: string = uuidv4()) {
    const body = { reason: 'the guest has left' };
    return await this.#send('post', '/v1/authorize/{authRequestId}/void', { authRequestId, key, body });
  }

  /** Asks until there is a result, however long that takes. */
  async settled(authRequestId: string): Promise<Authorization> {
    for (;;) {
      const { body } = await this.get(authRequestId);
      if (!['PENDING', 'PROCESSING'].includes(body.status)) return body;
      await delay(200);
    }
  }

  async #send(
    method: 'get' | 'post',
    route: string,
    {
      authRequestId = '',
      key,
      url = this.url(),
      body,
    }: { authRequestId?: string; key?: string; url?: string; body?: object },
  ): Promise<Answer> {
    const response = await fetch(`${url}${route.replace('{authRequestId}', authRequestId)}`, {
      method,
      headers: {
        'Restaurant-Id': this.restaurantId,
        ...(key && { 'Idempotency-Key': key }),
        ...(body && { 'Content-Type': 'application/json' }),
      },
      body: body && JSON.stringify(body),
    });
    const answer: Answer = {
      ...{ method, route, status: response.status },
      contentType: response.headers.get('Content-Type')!.replace(/;.*/, ''),
      location: response.headers.get('Location'),
      body: (await response.json()) as Answer['body'],
    };
    this.answers.push(answer);
    return answer;
  }
}

interface Sending {
  /** The idempotency key. Default: a new one. */
  readonly key?: string;
  /** Another API than the usual one. */
  readonly url?: string;
  readonly amountCents?: unknown;
  readonly cardNumber?: string;
}
