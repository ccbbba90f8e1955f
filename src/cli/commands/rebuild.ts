import { Command } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { type Rebuild } from '../../read-model/plan-rebuild';
import { ReadModel } from '../../read-model/read-model';
import { printDifferences, printHoldDifferences } from '../print-differences';
import { toJson } from '../to-json';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

interface Options {
  dryRun?: boolean;
  json?: boolean;
}

/** `payment-events-db rebuild`. */
export function rebuildCommand(): Command {
  const command = new Command('rebuild')
    .description(
      'Replaces the rows of requests in auth_request_state, and those of their holds, by what their events say, one after the other, and prints ' +
        'what changed. Needs the owner of the table. Running it again is harmless; the first failure ends it. Writers ' +
        'wait at most two seconds a request. Where the row says AUTHORIZED and the events say that the request is ' +
        'closed, money may be held: make sure that it is released first.',
    )
    .argument('<id...>', 'the requests')
    .option('--dry-run', 'only print what would change')
    .option('--json', 'print one JSON object a line, one a request');
  const action = async (ids: string[], { dryRun, json }: Options) => {
    await withDataSource(readConfig(), async (dataSource) => {
      const readModel = new ReadModel(dataSource);
      for (const id of ids) {
        const rebuild = dryRun ? await readModel.previewRebuild(id) : await readModel.rebuild(id);
        if (json) console.log(toJson(rebuild));
        else printForPeople(rebuild, OUTCOMES[dryRun ? 'planned' : 'done']);
      }
    });
  };
  return overShards(command, action, { isForOne: true });
}

function printForPeople(
  { authRequestId, outcome, differences, holds }: Rebuild,
  outcomes: Record<Rebuild['outcome'], string>,
) {
  console.log(`${pc.bold(authRequestId)}  ${outcomes[outcome]}`);
  printDifferences(differences, ['before', 'by its events']);
  printHoldDifferences(holds, ['before', 'by its events']);
}

const OUTCOMES = {
  done: { unchanged: 'was right already', replaced: 'rebuilt', created: 'created: it had no row' },
  planned: { unchanged: 'is right', replaced: 'would be rebuilt', created: 'would be created: it has no row' },
};
