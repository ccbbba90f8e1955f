import { type AuthRequestStatus, isClosed } from '../../auth-requests/statuses';
import { Command } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { ReadModel } from '../../read-model/read-model';
import { type RequestDifference, type Verification, type VerificationScope } from '../../read-model/verification';
import { ExitCode } from '../exit-codes';
import { printDifferences } from '../print-differences';
import { toJson } from '../to-json';
import { withDataSource } from '../with-data-source';
import { withProgress } from '../with-progress';

interface Options {
  restaurant?: string;
  request?: string;
  json?: boolean;
}

/** `payment-events-db verify`. */
export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'Compares the rows of auth_request_state with what their events say and prints every request that differs. ' +
        'Reads only; services may go on. Exit code 1 when something differs.',
    )
    .option('--restaurant <id>', 'only the requests of this restaurant')
    .option('--request <id>', 'only this request')
    .option('--json', 'print one JSON object a line: each request that differs, then the summary')
    .action(async ({ restaurant, request, json }: Options) => {
      await withDataSource(readConfig(), async (dataSource) => {
        const scope: VerificationScope = { restaurantId: restaurant, authRequestId: request };
        const verification = new ReadModel(dataSource).verify(scope);
        await print(verification, json ? printJson : printForPeople);
        if (verification.differing > 0) process.exitCode = ExitCode.failed;
      });
    });
}

interface Printer {
  difference(difference: RequestDifference): void;
  summary(verification: Verification): void;
}

async function print(verification: Verification, printer: Printer): Promise<void> {
  await withProgress(
    () => `Compared ${count(verification.checked)}`,
    async () => {
      for await (const difference of verification) printer.difference(difference);
    },
  );
  printer.summary(verification);
}

const printJson: Printer = {
  difference: (difference) => console.log(toJson(difference)),
  summary: ({ checked, differing }) => console.log(JSON.stringify({ kind: 'summary', checked, differing })),
};

const printForPeople: Printer = {
  difference: (difference) => {
    console.log(`${pc.bold(difference.authRequestId)}  ${pc.red(headline(difference))}`);
    if (difference.kind === 'row_differs') printDifferences(difference.differences, ['in the row', 'by its events']);
    if (mayHoldMoney(difference)) {
      console.log(
        pc.yellow('  The processor authorized a request that is closed. Make sure that the money is released first.'),
      );
    }
  },
  summary: ({ checked, differing }) => {
    if (differing === 0) return console.log(pc.green(`Compared ${count(checked)}: none differs.`));
    console.log(pc.red(`Compared ${count(checked)}: ${differing.toLocaleString('en-US')} differ.`));
    console.log('Look at each, then repair it with: npx payment-events-db rebuild <id>');
  },
};

function headline(difference: RequestDifference): string {
  switch (difference.kind) {
    case 'row_differs':
      return 'the row differs from its events';
    case 'row_missing':
      return 'has events, but no row';
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
