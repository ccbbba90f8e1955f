import { Command } from 'commander';
import pc from 'picocolors';
import { AuthRequests } from '../../auth-requests/auth-requests';
import { type FindCommand, type FoundRequest, type UnsettledRequest } from '../../auth-requests/find-requests';
import { readConfig } from '../../config';
import { ExitCode } from '../exit-codes';
import { afterOption, sayMore } from '../more';
import { printTable } from '../print-table';
import { overShards } from '../shards/over-shards';
import { toJson } from '../to-json';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

interface Options {
  olderThan: number;
  within?: number;
  limit: number;
  after?: string;
  json?: boolean;
}

/** `payment-events-db requests …`. */
export function requestsCommand(): Command {
  const requests = new Command('requests').description(
    'Lists requests that somebody should look at, of all restaurants.',
  );
  requests.addCommand(
    finding<FoundRequest>({
      name: 'stuck',
      description: 'Lists PENDING and PROCESSING requests: nobody has picked them up, or their worker is gone.',
      find: (requests, command) => requests.listStuck(command),
      none: 'No request is stuck.',
      headings: ['request', 'restaurant', 'status', 'attempt open', 'retries', 'sent again', 'created', 'changed'],
      row: (request) => [
        ...[request.authRequestId, request.restaurantId, request.status, request.attemptOpen ? 'yes' : 'no'],
        ...[request.retryCount, request.sweeps, request.createdAt, request.updatedAt],
      ],
    }),
  );
  requests.addCommand(
    finding<UnsettledRequest>({
      name: 'unsettled',
      description:
        'Lists requests of any status of which a processor may have been asked and nobody has recorded the answer: money may be ' +
        'held. Those that can be asked come first.',
      find: (requests, command) => requests.listUnsettled(command),
      none: 'No request is unsettled.',
      headings: [
        'request',
        'restaurant',
        'status',
        'created',
        'open since',
        'versions',
        'sent again',
        'can be asked',
        'what to do',
      ],
      row: (request) => [
        ...[request.authRequestId, request.restaurantId, request.status, request.createdAt, request.unansweredSince],
        request.unansweredVersions.map((version) => version || '(legacy)').join(', '),
        request.sweeps,
        request.canBeAsked ? 'yes' : 'no',
        request.canBeAsked
          ? 'send it to a worker: startAttempt'
          : 'look at the processor, release what it holds: closeUnanswered',
      ],
    }),
  );
  return requests;
}

interface Finding<R> {
  readonly name: string;
  readonly description: string;
  readonly find: (requests: AuthRequests, command: FindCommand) => Promise<R[]>;
  /** Said where there is none. */
  readonly none: string;
  readonly headings: readonly string[];
  readonly row: (request: R) => Parameters<typeof printTable>[1][number];
}

function finding<R extends FoundRequest>({ name, description, find, none, headings, row }: Finding<R>): Command {
  const command = new Command(name)
    .description(`${description} Exit code 1 when there is one.`)
    .option('--older-than <minutes>', 'made at least so long ago', wholeNumber, 10)
    .option('--within <hours>', 'and at most so long ago; reads only that part of the table', wholeNumber)
    .option('--limit <n>', 'at most this many, the oldest first', wholeNumber, 100)
    .addOption(afterOption())
    .option('--json', 'print one JSON object a line');
  return overShards(command, ({ olderThan, within, limit, after, json }: Options) =>
    withDataSource(readConfig(), async (dataSource) => {
      const window = {
        olderThanMs: olderThan * MINUTE_MS,
        ...(within !== undefined && { withinMs: within * HOUR_MS }),
      };
      const found = await find(new AuthRequests(dataSource), { ...window, limit, after });
      if (found.length > 0) process.exitCode = ExitCode.failed;
      if (json) return found.forEach((request) => console.log(toJson(request)));
      if (found.length === 0) return console.log(pc.green(none));
      printTable(headings, found.map(row));
      if (found.length === limit) sayMore(limit, found.at(-1)!.cursor);
    }),
  );
}
