import { Command } from 'commander';
import { readConfig } from '../../config';
import { adopt, type Adoption } from '../../migrator/adopt';
import { describeObstacle } from '../../migrator/obstacles';
import { ExitCode } from '../exit-codes';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

interface Options {
  legacyTimezone?: string;
  dryRun?: boolean;
  json?: boolean;
}

/** `payment-events-db adopt`. */
export function adoptCommand(): Command {
  const command = new Command('adopt')
    .description(
      'Takes over a database that Alembic made, with all its rows: checks that its schema is that of its revision, ' +
        'and records the migrations that make the same schema as applied. Changes nothing else; services may keep running.',
    )
    .option(
      '--legacy-timezone <zone>',
      "the zone of the server's clock when the old rows were written (default: UTC, if TimeZone is UTC)",
    )
    .option('--dry-run', 'change nothing, and print what would be done')
    .option('--json', 'print JSON');
  const action = async ({ legacyTimezone, dryRun, json }: Options) => {
    await withDataSource(readConfig(), async (dataSource) => {
      const adoption = await adopt(dataSource, { legacyTimeZone: legacyTimezone, dryRun, say: console.error });
      if (dryRun && adoption.obstacles.length > 0) process.exitCode = ExitCode.failed;
      console.log(json ? JSON.stringify(adoption) : forPeople(adoption));
    });
  };
  return overShards(command, action, { isForOne: true });
}

function forPeople({
  outcome,
  revision,
  recorded,
  legacyTimeZone,
  legacyClocks,
  grants,
  kept,
  obstacles,
}: Adoption): string {
  if (outcome === 'adopted_already')
    return 'This database has a history of migrations already: there is nothing to adopt.';
  const isPlan = outcome === 'would_be_adopted';
  return [
    `The schema is that of Alembic revision ${revision}.`,
    ...recorded.map((name) => `${isPlan ? 'Would be recorded' : 'Recorded'} as applied: ${name}.`),
    `The times of the old rows ${isPlan ? 'would be taken' : 'are taken'} for ${legacyTimeZone}.`,
    ...legacyClocks
      .filter(({ zone }) => zone !== legacyTimeZone)
      .map(({ column, zone, compared }) => `But auth_request_state.${column} for ${zone}: ${told(compared)}.`),
    ...[...grants, ...kept].map((object) => `Stays as it is: ${object}.`),
    ...obstacles.map((one) => `Would stop ${describeObstacle(one)}.`),
    ...(isPlan ? ['Next: npx payment-events-db adopt'] : NEXT),
  ].join('\n');
}

const told = (rows: number) =>
  rows > 0
    ? `as ${rows} rows show, each compared with its event`
    : 'no row shows it, and the legacy services write UTC';

const NEXT = [
  'Next, while the legacy services keep running: npx payment-events-db migrate --to ExpandIndexes',
  'When they are stopped: npx payment-events-db migrate',
];
