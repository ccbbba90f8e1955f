import { type AuthRequestStatus, isClosed } from '../../auth-requests/statuses';
import { Command } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { ReadModel } from '../../read-model/read-model';
import { type RequestDifference, type Verification, type VerificationScope } from '../../read-model/verification';
import { ExitCode } from '../exit-codes';
import { type SharedHold } from '../../read-model/shared-holds';
import { printDifferences, printHoldDifferences } from '../print-differences';
import { toJson } from '../to-json';
import { uuidArgument } from '../uuid-argument';
import { overShards } from '../shards/over-shards';
import { shardsToVerify } from '../shards/shards-of-request';
import { shardsOfRestaurant, useDatabaseOf, WHERE_ITS_RESTAURANT_IS } from '../shards/use-database-of';
import { withDataSource } from '../with-data-source';
import { withProgress } from '../with-progress';

interface Options {
  restaurant?: string;
  request?: string;
  json?: boolean;
}

/** `payment-events-db verify`. */
export function verifyCommand(): Command {
  const command = new Command('verify')
    .description(
      'Compares the rows of auth_request_state, and those of their holds, with what their events say and prints every request ' +
        'that differs; then authorizations that several requests have, while money may be held under them. ' +
        'Reads only; services may go on. Exit code 1 when something differs.',
    )
    .option(
      '--restaurant <id>',
      `only the requests of this restaurant. ${WHERE_ITS_RESTAURANT_IS}`,
      uuidArgument('A restaurant'),
    )
    .option('--request <id>', 'only this request; with --all in the one database that has it')
    .option('--json', 'print one JSON object a line: each request that differs, then the summary');
  const action = async ({ json, ...options }: Options) => {
    if (options.restaurant !== undefined) await useDatabaseOf(options.restaurant);
    await withDataSource(readConfig(), async (dataSource) => {
      const scope = scopeOf(options);
      const readModel = new ReadModel(dataSource);
      const verification = readModel.verify(scope);
      await print(verification, readModel.sharedHolds(scope), json ? printJson : printForPeople);
      if (verification.differing > 0) process.exitCode = ExitCode.failed;
    });
  };
  return overShards(command, action, {
    choose: async (all, options) => {
      const { restaurant, request } = options;
      const shards = restaurant === undefined ? all : await shardsOfRestaurant(all, restaurant);
      return request === undefined ? shards : await shardsToVerify(shards, request, scopeOf(options));
    },
  });
}

const scopeOf = ({ restaurant, request }: Options): VerificationScope => ({
  restaurantId: restaurant,
  authRequestId: request,
});

interface Printer {
  difference(difference: RequestDifference): void;
  shared(hold: SharedHold): void;
  summary(verification: Verification): void;
}

async function print(verification: Verification, shared: AsyncIterable<SharedHold>, printer: Printer): Promise<void> {
  await withProgress(
    () => `Compared ${count(verification.checked)}`,
    async () => {
      for await (const difference of verification) printer.difference(difference);
      for await (const hold of shared) printer.shared(hold);
    },
  );
  printer.summary(verification);
}

const printJson: Printer = {
  difference: (difference) => console.log(toJson(difference)),
  shared: (hold) => console.log(toJson({ kind: 'hold_shared', ...hold })),
  summary: ({ checked, differing, leftBehind }) =>
    console.log(JSON.stringify({ kind: 'summary', checked, differing, leftBehind })),
};

const printForPeople: Printer = {
  difference: (difference) => {
    console.log(`${pc.bold(difference.authRequestId)}  ${pc.red(headline(difference))}`);
    if (difference.kind === 'row_differs') printDifferences(difference.differences, COLUMNS);
    if (difference.kind !== 'events_unfoldable') printHoldDifferences(difference.holds, COLUMNS);
    if (mayHoldMoney(difference)) {
      console.log(
        pc.yellow('  The processor authorized a request that is closed. Make sure that the money is released first.'),
      );
    }
  },
  shared: ({ processorName, processorAuthId, holds }) => {
    console.log(
      `${pc.bold(`${toJson(processorName)} ${toJson(processorAuthId)}`)}  ${pc.yellow('several requests have this authorization')}`,
    );
    for (const { authRequestId, state, isNeeded } of holds) {
      console.log(`  ${authRequestId}  ${state}${isNeeded ? ', needed' : ''}`);
    }
    console.log('  Ask the processor which one it belongs to: a void for one of them ends it for all.');
  },
  summary: ({ checked, differing, leftBehind }) => {
    if (leftBehind > 0) {
      console.log(pc.dim(`Left out ${count(leftBehind)}, whose restaurants are in another database.`));
    }
    if (differing === 0) return console.log(pc.green(`Compared ${count(checked)}: none differs.`));
    console.log(pc.red(`Compared ${count(checked)}: ${differing.toLocaleString('en-US')} differ.`));
    console.log('Look at each, then repair it with: npx payment-events-db rebuild <id>');
  },
};

const COLUMNS: [string, string] = ['in the row', 'by its events'];

function headline(difference: RequestDifference): string {
  switch (difference.kind) {
    case 'row_differs':
      return 'the row differs from its events';
    case 'row_missing':
      return 'has events, but no row';
    case 'holds_differ':
      return 'a hold differs from its events';
    case 'events_unfoldable':
      return UNFOLDABLE[difference.reason].replace('#', String(difference.sequenceNumber));
  }
}

const UNFOLDABLE = {
  no_events: 'has a row, but no events',
  sequence_gap: 'lacks event #, and has later ones',
  undecodable_event: 'has an event # that cannot be read',
  no_beginning: 'has a first event that is not AuthRequestCreated',
};

function mayHoldMoney(difference: RequestDifference): boolean {
  if (difference.kind !== 'row_differs') return false;
  const status = difference.differences.find(({ field }) => field === 'status');
  return status?.inRow === 'AUTHORIZED' && isClosed(status.byEvents as AuthRequestStatus);
}

const count = (requests: number) => `${requests.toLocaleString('en-US')} request${requests === 1 ? '' : 's'}`;
