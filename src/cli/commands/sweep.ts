import { Command, InvalidArgumentError } from 'commander';
import pc from 'picocolors';
import { type Config, readConfig } from '../../config';
import { type PaymentEventsDataSource } from '../../data-source';
import { schemaOf } from '../../database/pinned-schema';
import { type Sending, SWEEPER_TASKS, type SweeperTask, type SweepResult } from '../../sweeper/sweep-result';
import { Sweeper } from '../../sweeper/sweeper';
import { DEFAULTS, type SweeperOptions } from '../../sweeper/sweeper-options';
import { type SweeperHooks } from '../../sweeper/sweeper-reporter';
import { explainError } from '../explain-error';
import { causeOf, log } from '../json-log';
import { runUntilTold } from '../run-until-told';
import { overShards } from '../shards/over-shards';
import { toJson } from '../to-json';
import { withDataSource } from '../with-data-source';

type Options = { once?: boolean; dryRun?: boolean; json?: boolean } & Omit<SweeperOptions, 'hooks' | 'signal'>;

/** What each option of a number says. */
const MEANINGS: { readonly [Name in keyof typeof DEFAULTS]: string } = {
  voidingIntervalMs: 'pause between two looks for voids that nobody has carried out; 0: never',
  stuckIntervalMs: 'pause between two looks for stuck requests; 0: never',
  unsettledIntervalMs: 'pause between two looks for unsettled requests; 0: never',
  listingIntervalMs: 'pause between two lists of what needs a person; 0: never',
  expiryIntervalMs: 'pause between two expiries of stale requests; 0: never',
  keysIntervalMs: 'pause between two purges of expired idempotency keys; 0: never',
  leasesIntervalMs: 'pause between two purges of expired leases; 0: never',
  messagesIntervalMs: 'pause between two purges of delivered messages; 0: never',
  voidingAfterMs: 'a void is sent again after so long, then after twice, four times … as long',
  stuckAfterMs: 'the same for a stuck request',
  unsettledAfterMs: 'the same for an unsettled request',
  maxDelayMs: 'longest of these pauses',
  maxSweeps: 'messages until a request or a void is given up',
  batchSize: 'messages that one look sends at most',
  perMinute: 'messages a minute at most',
  outboxLateMs: 'nothing is sent while a message has waited longer in the outbox',
  withinMs: 'requests made longer ago are left to people',
  settleWithinMs: 'what has been unanswered for longer cannot be asked',
  lapsingWithinMs: 'holds that lapse so soon are listed',
  expireAfterMs: 'open requests so old expire',
  purgeMessagesAfterMs: 'messages that were delivered so long ago are purged',
  leaseTtlMs: 'how soon another sweeper takes over from one that has died',
  maxReconnectDelayMs: 'longest pause while the database cannot be reached',
};

/** `payment-events-db sweep`. */
export function sweepCommand(): Command {
  const command = new Command('sweep')
    .description(
      'Sends stuck requests and voids on their way again, gives them up in the end, expires and purges what is over, until ' +
        'SIGTERM or SIGINT. One is at work at a time; others wait to take over. Logs one JSON object a line.',
    )
    .option('--once', 'do everything once, print what it came to, and end')
    .option('--dry-run', 'print what one turn would do, and write nothing')
    .option('--json', 'print what it came to, or an error, as JSON; the log is always JSON');
  for (const name of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]) {
    const isTime = name.endsWith('Ms');
    const flag = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    command.option(`--${flag} <${isTime ? 'ms' : 'n'}>`, MEANINGS[name], number, DEFAULTS[name]);
  }
  const action = async ({ once: isOnce, dryRun, json, ...options }: Options) => {
    const config = named(readConfig());
    if (isOnce || dryRun) {
      await withDataSource(config, async (dataSource) => {
        const result = await new Sweeper(dataSource, options).runOnce({ dryRun });
        if (json) console.log(toJson(result));
        else printResult(result);
      });
    } else {
      await withDataSource(config, (dataSource) => run(dataSource, options), { isSilent: true });
      log('stopped');
    }
  };
  return overShards(command, action, { isEndless: ({ once: isOnce, dryRun }) => !isOnce && !dryRun });
}

/** Told apart from the services in `pg_stat_activity`. */
const named = (config: Config): Config => ({
  ...config,
  dataSource: { applicationName: 'payment-events-db sweep', ...config.dataSource },
});

async function run(dataSource: PaymentEventsDataSource, options: SweeperOptions): Promise<void> {
  const sweeper = new Sweeper(dataSource, { ...options, hooks: jsonLog });
  await runUntilTold(sweeper, { schema: schemaOf(dataSource), ...options });
}

/** A turn that has found nothing is no line. */
const jsonLog: SweeperHooks = {
  swept: (result) => {
    const counts = Object.entries(countsOf(result)).filter(([, count]) => count > 0);
    const heldBack = heldBackIn(result);
    if (counts.length > 0 || heldBack) log('swept', { ...Object.fromEntries(counts), ...(heldBack && { heldBack }) });
  },
  gaveUp: (what) => log('gave_up', what),
  waiting: () => log('waiting'),
  unavailable: (error) => log('unavailable', { error: explainError(error).text, cause: causeOf(error) }),
  recovered: () => log('recovered'),
};

/** How much of each. */
function countsOf(result: SweepResult): Partial<Record<SweeperTask, number>> {
  const { voiding, stuck, unsettled, listing, expiry, keys, leases, messages } = result;
  const counts: Record<SweeperTask, number | undefined> = {
    ...{ voiding: voiding?.sent.length, stuck: stuck?.sent.length, unsettled: unsettled?.sent.length },
    listing: listing && listing.lapsing.length + listing.requests.length,
    ...{ expiry: expiry?.length, keys, leases, messages },
  };
  return Object.fromEntries(
    SWEEPER_TASKS.flatMap((task) => (counts[task] === undefined ? [] : [[task, counts[task]]])),
  );
}

const heldBackIn = ({ voiding, stuck, unsettled }: SweepResult): Sending<unknown>['heldBack'] =>
  [voiding, stuck, unsettled].map((sending) => sending?.heldBack).find((why) => why === 'outbox_late') ?? null;

/** For people. */
function printResult(result: SweepResult): void {
  if (result.outcome === 'another_is_at_work') return console.log(pc.yellow('Another sweeper is at work.'));
  const { dryRun, voiding, listing } = result;
  const counts = countsOf(result);
  for (const task of SWEEPER_TASKS) {
    if (counts[task] === undefined) continue;
    const sending = task === 'voiding' || task === 'stuck' || task === 'unsettled' ? result[task] : undefined;
    const why = sending?.heldBack ? `, ${HELD_BACK[sending.heldBack]}` : '';
    console.log(`${DONE[task][dryRun ? 1 : 0]}: ${counts[task]}${why}`);
  }
  for (const { authRequestId, processorName, processorAuthId, reason } of voiding?.givenUp ?? []) {
    console.log(
      `${dryRun ? 'Would give up' : 'Gave up'} the void of ${processorName} ${processorAuthId} (request ${authRequestId}): ${reason}`,
    );
  }
  for (const { authRequestId, status, sweeps, reason } of listing?.requests ?? []) {
    console.log(`Given up: request ${authRequestId}, ${status}, sent ${sweeps} times: ${reason}`);
  }
  for (const { authRequestId, processorName, processorAuthId, holdExpiresAt } of listing?.lapsing ?? []) {
    console.log(
      `Lapses ${holdExpiresAt.toISOString()}: ${processorName} ${processorAuthId} (request ${authRequestId})`,
    );
  }
}

const DONE: Record<SweeperTask, readonly [done: string, wouldBeDone: string]> = {
  voiding: ['Voids sent again', 'Voids to send again'],
  stuck: ['Stuck requests sent again', 'Stuck requests to send again'],
  unsettled: ['Unsettled requests sent again', 'Unsettled requests to send again'],
  listing: ['Need a person', 'Need a person'],
  expiry: ['Requests expired', 'Requests to expire'],
  keys: ['Idempotency keys purged', 'Idempotency keys to purge'],
  leases: ['Leases purged', 'Leases to purge'],
  messages: ['Messages purged', 'Messages to purge'],
};

const HELD_BACK: Record<NonNullable<Sending<unknown>['heldBack']>, string> = {
  outbox_late: 'since the outbox is late: look at the relay',
  per_minute: 'and no more this minute',
  batch: 'and more in the next turn',
};

function number(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
