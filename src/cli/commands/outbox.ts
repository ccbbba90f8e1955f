import { Command, InvalidArgumentError } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { Outbox } from '../../outbox/outbox';
import { type OutboxCount } from '../../outbox/outbox-stats';
import { afterOption, sayMore } from '../more';
import { printTable } from '../print-table';
import { overShards } from '../shards/over-shards';
import { toJson } from '../to-json';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';
import { withProgress } from '../with-progress';

const DAY_MS = 86_400_000;

/** `payment-events-db outbox …`. */
export function outboxCommand(): Command {
  const outbox = new Command('outbox').description('Shows the outbox, and handles the messages that were given up.');

  const stats = outbox
    .command('stats')
    .description('Prints how many messages are pending, are waiting and were given up, and how old the oldest is.')
    .option('--json', 'print JSON');
  overShards(stats, ({ json }: { json?: boolean }) =>
    withOutbox(async (box) => {
      const stats = await box.stats();
      if (json) return console.log(toJson(stats));
      const age = stats.oldestPendingAgeMs;
      const said = (name: OutboxCount) =>
        stats.atLeast.includes(name) ? `more than ${stats[name].toLocaleString('en-US')}` : stats[name];
      printTable(
        ['pending', 'waiting', 'failed', 'oldest pending', 'processed in the last minute'],
        [
          [
            said('pending'),
            said('waiting'),
            said('failed'),
            age === null ? null : `${(age / 1_000).toFixed(1)} s`,
            said('processedLastMinute'),
          ],
        ],
      );
    }),
  );

  const failed = outbox
    .command('failed')
    .description('The messages that were given up, oldest first.')
    .option('--limit <n>', 'at most this many', wholeNumber, 100)
    .addOption(afterOption('--after <id>', 'only those with a higher id').argParser(messageId))
    .option('--json', 'print one JSON object a line');
  overShards(failed, ({ limit, after, json }: { limit: number; after?: bigint; json?: boolean }) =>
    withOutbox(async (box) => {
      const messages = await box.listFailed({ limit, after });
      if (json) return messages.forEach((message) => console.log(toJson(message)));
      if (messages.length === 0) return console.log(pc.green('No message has been given up.'));
      printTable(
        ['id', 'type', 'request', 'attempts', 'failed at', 'waiting behind', 'last error'],
        messages.map((message) => [
          message.id,
          message.messageType,
          message.aggregateId,
          message.attempts,
          message.failedAt,
          message.waiting,
          message.lastError,
        ]),
      );
      if (messages.length === limit) sayMore(limit, messages.at(-1)!.id);
    }),
  );

  const requeue = outbox
    .command('requeue')
    .description('Delivers again, now, a message that was given up or waits; or all that were refused.')
    .argument('[id]', 'the message', messageId)
    .option('--all', 'every message that was given up, or refused and waits')
    .option('--json', 'print JSON');
  const requeued = async (id: bigint | undefined, { all, json }: { all?: boolean; json?: boolean }) => {
    if ((id === undefined) === !all) requeue.error('error: name a message, or say --all');
    await withOutbox(async (box) => {
      const requeued = id === undefined ? await box.requeueAll() : (await box.requeue(id), 1);
      console.log(json ? JSON.stringify({ requeued }) : `Requeued ${count(requeued)}.`);
    });
  };
  overShards(requeue, requeued, { isForOne: true });

  const discard = outbox
    .command('discard')
    .description('Discards a message that must not be delivered. Who decided it and why stays with the row.')
    .argument('<id>', 'the message', messageId)
    .requiredOption('--by <name>', 'who decided it')
    .requiredOption('--reason <text>', 'why')
    .option('--json', 'print JSON');
  const discarded = (id: bigint, { by, reason, json }: { by: string; reason: string; json?: boolean }) =>
    withOutbox(async (box) => {
      await box.discard(id, { by, reason });
      console.log(json ? JSON.stringify({ discarded: 1 }) : `Discarded message ${id}.`);
    });
  overShards(discard, discarded, { isForOne: true });

  const purge = outbox
    .command('purge')
    .description('Deletes messages that were delivered or discarded some time ago.')
    .option('--older-than-days <n>', 'days since that time', wholeNumber, 7)
    .option('--json', 'print JSON');
  overShards(purge, ({ olderThanDays, json }: { olderThanDays: number; json?: boolean }) =>
    withOutbox(async (box) => {
      let purged = 0;
      await withProgress(
        () => `Purged ${count(purged)}`,
        () => box.purgeProcessed({ olderThanMs: olderThanDays * DAY_MS, onBatch: (soFar) => (purged = soFar) }),
      );
      console.log(json ? JSON.stringify({ purged }) : `Purged ${count(purged)}.`);
    }),
  );

  return outbox;
}

const withOutbox = (work: (outbox: Outbox) => unknown) =>
  withDataSource(readConfig(), async (dataSource) => void (await work(new Outbox(dataSource))));

const count = (messages: number) => `${messages.toLocaleString('en-US')} message${messages === 1 ? '' : 's'}`;

const LAST_ID = 2n ** 63n - 1n;

function messageId(text: string): bigint {
  if (/^\d{1,19}$/.test(text) && BigInt(text) <= LAST_ID) return BigInt(text);
  throw new InvalidArgumentError(`A message id is a whole number up to ${LAST_ID}.`);
}
