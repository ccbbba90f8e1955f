import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { type Config, readConfig } from '../../config';
import { type PaymentEventsDataSource } from '../../data-source';
import { schemaOf } from '../../database/pinned-schema';
import { ConfigurationError } from '../../errors';
import { type Publishers } from '../../outbox/delivery';
import { OutboxRelay } from '../../outbox/outbox-relay';
import { type RelayHooks } from '../../outbox/relay-reporter';
import { explainError } from '../explain-error';
import { causeOf, log } from '../json-log';
import { runUntilTold } from '../run-until-told';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

interface Options {
  publisher: string;
  json?: boolean;
  batchSize: number;
  pollIntervalMs: number;
  publishTimeoutMs: number;
  maxAttempts: number;
  retryDelayMs: number;
  maxRetryDelayMs: number;
  maxReconnectDelayMs: number;
}

/** `payment-events-db relay`. */
export function relayCommand(): Command {
  const command = new Command('relay')
    .description(
      'Delivers the outbox until SIGTERM or SIGINT, and finishes its current batch before it ends. ' +
        'Any number of relays share the work. Logs one JSON object a line.',
    )
    .requiredOption(
      '--publisher <module>',
      'a file or package whose default export is a publisher, an object of publishers by message type, or a function ' +
        'that returns one of these',
    )
    .option('--batch-size <n>', 'messages in a batch', positive, 100)
    .option('--poll-interval-ms <ms>', 'longest pause when there is nothing to do', positive, 100)
    .option('--publish-timeout-ms <ms>', 'longest wait for a publisher', positive, 10_000)
    .option('--max-attempts <n>', 'refusals until a message is given up', positive, 10)
    .option('--retry-delay-ms <ms>', 'pause after the first refusal; doubles with each', positive, 1_000)
    .option('--max-retry-delay-ms <ms>', 'longest pause after a refusal', positive, 300_000)
    .option('--json', 'print an error as JSON too; the log is always JSON')
    .option(
      '--max-reconnect-delay-ms <ms>',
      'longest pause while the database or the broker cannot be reached',
      positive,
      30_000,
    );
  return overShards(
    command,
    async ({ publisher, json: _json, ...options }: Options) => {
      const publishers = await loadPublishers(publisher);
      const deliver = async (dataSource: PaymentEventsDataSource) => {
        const relay = new OutboxRelay(dataSource, publishers, { ...options, hooks: jsonLog });
        await runUntilTold(relay, { schema: schemaOf(dataSource), ...options });
      };
      await withDataSource(named(readConfig()), deliver, { isSilent: true });
      await closeAll(publishers);
      log('stopped');
    },
    { isEndless: () => true },
  );
}

/** Told apart from the services in `pg_stat_activity`. */
const named = (config: Config): Config => ({
  ...config,
  dataSource: { applicationName: 'payment-events-db relay', ...config.dataSource },
});

async function loadPublishers(module: string): Promise<Publishers> {
  const specifier = /^[./]|\.[cm]?[jt]s$/.test(module) ? pathToFileURL(resolve(module)).href : module;
  let loaded: { default?: unknown };
  try {
    loaded = (await import(specifier)) as { default?: unknown };
  } catch (error) {
    throw new ConfigurationError(`--publisher: ${module} cannot be loaded: ${(error as Error).message}`);
  }
  // A CommonJS module that sets exports.default arrives wrapped once more. A compiled one without it has no default export.
  const whole = loaded.default as { __esModule?: boolean; default?: unknown } | undefined;
  const exported = whole?.__esModule ? whole.default : (whole?.default ?? whole);
  const publishers: unknown = typeof exported === 'function' ? await (exported as () => unknown)() : exported;
  if (typeof publishers !== 'object' || publishers === null) {
    throw new ConfigurationError(
      `--publisher: ${module} must have a default export: a publisher, or publishers by type.`,
    );
  }
  return publishers as Publishers;
}

async function closeAll(publishers: Publishers): Promise<void> {
  const all = typeof publishers.publish === 'function' ? [publishers] : Object.values(publishers);
  for (const publisher of all) await (publisher as { close?(): Promise<void> }).close?.();
}

/** What went out is a metric, not a line each. */
const jsonLog: RelayHooks = {
  refused: ({ id, messageType, attempts }, reason) => log('refused', { id: String(id), messageType, attempts, reason }),
  failed: ({ id, messageType, attempts }, reason) => log('failed', { id: String(id), messageType, attempts, reason }),
  unavailable: (error) => log('unavailable', { error: explainError(error).text, cause: causeOf(error) }),
  recovered: () => log('recovered'),
};

function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number above zero.');
  return Number(text);
}
