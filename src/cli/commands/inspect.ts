import { Command } from 'commander';
import { type DataSource } from 'typeorm';
import { readConfig } from '../../config';
import { AuthRequestNotFoundError } from '../../errors';
import { findByProcessorId, type ProcessorIdMatch } from '../../inspection/find-by-processor-id';
import { inspectRequest } from '../../inspection/inspect-request';
import { type Inspection } from '../../inspection/inspection';
import { isUuid } from '../../validation/rules';
import { ExitCode } from '../exit-codes';
import { printInspection } from '../print-inspection';
import { printTable } from '../print-table';
import { toJson } from '../to-json';
import { overShards } from '../shards/over-shards';
import { shardsOfId } from '../shards/shards-of-request';
import { withDataSource } from '../with-data-source';

/** `payment-events-db inspect`. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description(
      'Prints all that the database knows of one request at one moment: its row, its events, what is open, its holds, its ' +
        'messages, idempotency keys and lease, what differs from its events, and what to do next. Reads only; tokens are not ' +
        'shown, nor all of a key. The read-only role sees what it may, and is told what it may not; the role of the worker ' +
        'sees contents of events, and no messages and keys. A processor’s id is found by the holds; one that no hold has is ' +
        'looked for in all rows, for PAYMENT_EVENTS_DB_STATEMENT_TIMEOUT_MS at most. Several requests of one id are listed, ' +
        'with exit code 4.',
    )
    .argument('<id>', 'the request, or what a processor calls its authorization')
    .option('--json', 'print one JSON object, or one a line of each request that the id stands for');
  const action = (id: string, { json }: { json?: boolean }) =>
    withDataSource(readConfig(), async (dataSource) => {
      const found = await find(dataSource, id);
      if ('authRequestId' in found) return json ? console.log(toJson(found)) : printInspection(found);
      process.exitCode = ExitCode.refused;
      if (json) return found.forEach((match) => console.log(toJson(match)));
      console.log('Several requests have this id of a processor. Inspect each by its own:');
      printTable(
        ['request', 'restaurant'],
        found.map(({ authRequestId, restaurantId }) => [authRequestId, restaurantId]),
      );
    });
  return overShards(command, action, { choose: shardsOfId });
}

/** The one request that is meant, or several that may be. A processor may call an authorization by a UUID as well. */
async function find(dataSource: DataSource, id: string): Promise<Inspection | ProcessorIdMatch[]> {
  const inspection = isUuid(id) ? await inspectIfThere(dataSource, id) : undefined;
  if (inspection) return inspection;
  const requests = await findByProcessorId(dataSource, id);
  const [first, ...others] = requests;
  if (first) return others.length > 0 ? requests : await inspectRequest(dataSource, first.authRequestId);
  throw new AuthRequestNotFoundError(id);
}

const inspectIfThere = (dataSource: DataSource, id: string) =>
  inspectRequest(dataSource, id).catch((error: unknown) => {
    if (error instanceof AuthRequestNotFoundError) return undefined;
    throw error;
  });
