import { Command, Option } from 'commander';
import pc from 'picocolors';
import { Holds } from '../../auth-requests/holds/holds';
import { type HoldFilter, type StandingHold } from '../../auth-requests/holds/list-holds';
import { type HoldReason, STANDING_STATES, type StandingState } from '../../auth-requests/holds/standing';
import { type HoldTotals } from '../../auth-requests/holds/total-holds';
import { readConfig } from '../../config';
import { ExitCode } from '../exit-codes';
import { afterOption, sayMore } from '../more';
import { printTable } from '../print-table';
import { overShards } from '../shards/over-shards';
import { toJson } from '../to-json';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';
import { endCommand, requeueCommand } from './see-to-hold';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** `payment-events-db holds …`. */
export function holdsCommand(): Command {
  return new Command('holds')
    .description('Shows what processors hold of customers’ money, and lets a person see to a hold.')
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(requeueCommand())
    .addCommand(endCommand());
}

interface ListOptions {
  state?: StandingState[];
  forAPerson?: boolean;
  olderThan?: number;
  lapsingWithin?: number;
  limit: number;
  after?: string;
  totals?: boolean;
  json?: boolean;
}

function listCommand(): Command {
  const command = new Command('list')
    .description(
      'Lists every hold that may still stand, of all restaurants, and what was captured although nobody needed it, each with the ' +
        'reason: what nobody needs first, then what lapses first. Under it are the totals of all that the options choose. ' +
        '`holds` alone is the same. Exit code 1 when one of them waits for a person.',
    )
    .addOption(new Option('--state <state...>', 'in one of these states').choices([...STANDING_STATES]))
    .option('--for-a-person', 'only those that a person has to see to')
    .option('--older-than <minutes>', 'in their state at least so long', wholeNumber)
    .option(
      '--lapsing-within <hours>',
      'let go by the processor within so many hours, where it has said when',
      wholeNumber,
    )
    .option('--limit <n>', 'list at most this many', wholeNumber, 100)
    .addOption(afterOption())
    .option('--totals', 'print the totals alone')
    .option('--json', 'print one JSON object a line: of each hold, or with --totals of each total');
  return overShards(command, (options: ListOptions) =>
    withDataSource(readConfig(), async (dataSource) => {
      const holds = new Holds(dataSource);
      const filter = chosen(options);
      const { limit, after } = options;
      if (await isOneWaiting(holds, filter)) process.exitCode = ExitCode.failed;
      if (options.totals) return printTotals(await holds.totals(filter), options);
      const listed = await holds.list({ ...filter, limit, after });
      if (options.json) return listed.forEach((hold) => console.log(toJson(hold)));
      if (listed.length === 0)
        return console.log(pc.green(after === undefined ? NONE : 'There are none after that place.'));
      printHolds(listed);
      if (listed.length === limit) sayThereMayBeMore(limit, listed.at(-1)!);
      console.log('');
      printTotals(await holds.totals(filter), options);
    }),
  );
}

function sayThereMayBeMore(limit: number, { cursor }: StandingHold): void {
  if (cursor !== null) return sayMore(limit, cursor);
  console.log(
    pc.dim(
      `At most ${limit} are listed: see --limit. Those that may follow are needed, and nobody knows when they lapse.`,
    ),
  );
}

const NONE = 'No such hold may still stand.';

/** Among those that the options choose, also where more are listed before it than may be listed. */
const isOneWaiting = async (holds: Holds, command: HoldFilter) =>
  (await holds.list({ ...command, forAPerson: true, limit: 1 })).length > 0;

const chosen = ({ state, forAPerson, olderThan, lapsingWithin }: ListOptions): HoldFilter => ({
  ...(state && { states: state }),
  ...(forAPerson && { forAPerson }),
  ...(olderThan !== undefined && { olderThanMs: olderThan * MINUTE_MS }),
  ...(lapsingWithin !== undefined && { lapsingWithinMs: lapsingWithin * HOUR_MS }),
});

function printHolds(holds: readonly StandingHold[]): void {
  printTable(
    ['request', 'processor', 'processor’s id', 'state', 'amount', 'currency', 'since', 'lapses', 'for a person', 'why'],
    holds.map((hold) => [
      ...[hold.authRequestId, hold.processorName || null, hold.processorAuthId, hold.state],
      ...[hold.endedAmountCents ?? hold.amountCents, hold.currency, hold.stateSince, hold.holdExpiresAt],
      ...[hold.isForAPerson ? 'yes' : 'no', hold.says],
    ]),
  );
}

function printTotals({ totals, isAtLeast }: HoldTotals, { json }: Pick<ListOptions, 'json'>): void {
  const isBound = (because: HoldReason) => isAtLeast && because === 'needed';
  if (json) return totals.forEach((total) => console.log(toJson({ ...total, isAtLeast: isBound(total.because) })));
  if (totals.length === 0) return console.log(pc.green(NONE));
  printTable(
    ['state', 'currency', 'holds', 'amount', 'for a person'],
    totals.map(({ state, because, currency, count, amountCents, isForAPerson }) => {
      const atLeast = isBound(because) ? 'at least ' : '';
      return [state, currency, `${atLeast}${count}`, `${atLeast}${amountCents}`, isForAPerson ? 'yes' : 'no'];
    }),
  );
}
