import { type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { type DataSource } from 'typeorm';
import { isOne, type Publishers } from '../outbox/delivery';
import { OutboxRelay } from '../outbox/outbox-relay';
import { type Publisher } from '../outbox/publisher';
import { Sweeper } from '../sweeper/sweeper';
import { SweeperOptions } from '../sweeper/sweeper-options';
import { validateSettings } from '../validation/validate-options';
import { relayLog, sweeperLog } from './log-hooks';
import { ModuleRelayOptions, type PaymentEventsDbModuleOptions } from './module-options';

/**
 * The relay and the sweeper of a module, from the start of the application to its end. They stop before the shutdown: at
 * `onApplicationShutdown` Nest closes the connections.
 */
export class BackgroundWork implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly relay: OutboxRelay | undefined;
  readonly sweeper: Sweeper | undefined;
  readonly #publishers: Publishers | undefined;

  /**
   * @param shard the name of the database among several, for the log
   * @throws ConfigurationError naming each option that is wrong
   */
  constructor(
    dataSource: DataSource,
    { relay, sweeper }: Pick<PaymentEventsDbModuleOptions, 'relay' | 'sweeper'>,
    shard?: string,
  ) {
    if (relay) {
      const { publishers, ...options } = validateSettings({ ModuleRelayOptions }, relay);
      this.relay = new OutboxRelay(dataSource, publishers, { ...options, hooks: relayLog(options.hooks, shard) });
      this.#publishers = publishers;
    }
    if (sweeper) {
      const options = validateSettings({ SweeperOptions }, sweeper);
      this.sweeper = new Sweeper(dataSource, { ...options, hooks: sweeperLog(options.hooks, shard) });
    }
  }

  onApplicationBootstrap(): void {
    this.relay?.start();
    this.sweeper?.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.stop();
    await closeAll(this.#publishers);
  }

  /** Publishers stay open. */
  async stop(): Promise<void> {
    await Promise.all([this.relay?.stop(), this.sweeper?.stop()]);
  }
}

/** Closes each publisher once, also where it delivers several types. */
export async function closeAll(publishers: Publishers | undefined): Promise<void> {
  for (const publisher of publishers ? allOf(publishers) : []) await publisher.close?.();
}

const allOf = (publishers: Publishers): readonly Publisher[] =>
  isOne(publishers) ? [publishers] : [...new Set(Object.values(publishers))];
