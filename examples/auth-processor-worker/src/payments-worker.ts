import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { AuthRequests, Holds, type OutboxMessageBody, RestaurantPaymentConfig } from 'payment-events-db';
import { type Repository } from 'typeorm';
import { Processor } from './processor';

/** Longer than the processor may take. A worker that is killed keeps others away for no longer. */
const LEASE_MS = 10_000;

/** What a restaurant without a configuration is asked under: no processor is. */
const NO_VERSION = 'none';

/** Works on one message. Where it rejects, nothing was recorded: have the message delivered again. */
@Injectable()
export class PaymentsWorker {
  readonly #logger = new Logger(PaymentsWorker.name);

  constructor(
    private readonly requests: AuthRequests,
    private readonly holds: Holds,
    private readonly processor: Processor,
    @InjectRepository(RestaurantPaymentConfig) private readonly configs: Repository<RestaurantPaymentConfig>,
  ) {}

  async handle(message: OutboxMessageBody): Promise<void> {
    switch (message.type) {
      case 'auth_request_queued':
        return await this.#authorize(message.data);
      case 'void_request_queued':
        return await this.#void(message.data);
    }
  }

  async #authorize({ restaurantId, authRequestId }: OutboxMessageBody<'auth_request_queued'>['data']): Promise<void> {
    const active = await this.configs.findOneBy({ restaurantId, isActive: true });
    const command = {
      restaurantId,
      authRequestId,
      configVersion: active?.configVersion ?? NO_VERSION,
      ttlMs: LEASE_MS,
    };
    const result = await this.requests.attempt(command, async (attempt, signal) => {
      // Of an earlier attempt that was never answered it may be another version.
      const config = await this.configs.findOneBy({ restaurantId, configVersion: attempt.configVersion });
      if (config) return await this.processor.authorize(config, attempt, signal);
      return { outcome: 'not_asked', errorCode: 'NO_CONFIGURATION', errorMessage: '', retryable: false };
    });
    this.#logger.log(`Request ${authRequestId}: ${result.outcome}, ${result.status}`);
  }

  async #void({
    restaurantId,
    authRequestId,
    processorName,
    processorAuthId,
  }: OutboxMessageBody<'void_request_queued'>['data']): Promise<void> {
    const command = { restaurantId, authRequestId, processorName, processorAuthId, ttlMs: LEASE_MS };
    const result = await this.holds.attemptVoid(command, (hold, signal) => this.processor.void(hold, signal));
    this.#logger.log(`Hold ${processorAuthId} of request ${authRequestId}: ${result.outcome}, ${result.state}`);
  }
}
