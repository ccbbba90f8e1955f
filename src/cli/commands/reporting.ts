import { Command } from 'commander';
import pc from 'picocolors';
import { classInWords } from '../../fence/residue';
import { DEFAULT_ROLE_PREFIX } from '../../grants/role-name';
import { dropReporting } from '../../reporting/drop-reporting';
import { renewReporting } from '../../reporting/renew-reporting';
import { reportingStatus } from '../../reporting/reporting-status';
import { ExitCode } from '../exit-codes';
import { printTable } from '../print-table';
import { readMapSource, readPlace, readReader } from '../reporting-from-environment';

interface Options {
  rolePrefix: string;
  json?: boolean;
}

/** `payment-events-db reporting`. */
export function reportingCommand(): Command {
  return new Command('reporting')
    .description('Keeps the reporting database, in which one query reads the requests of all restaurants.')
    .addCommand(renewCommand())
    .addCommand(statusCommand())
    .addCommand(dropCommand());
}

const withOptions = (command: Command) =>
  command
    .option('--role-prefix <name>', 'what the names of the roles begin with', DEFAULT_ROLE_PREFIX)
    .option('--json', 'print JSON');

function renewCommand(): Command {
  const command = new Command('renew').description(
    'Makes the reporting database of PAYMENT_EVENTS_DB_REPORTING_URL what the map of databases says, or makes it so ' +
      'again: views without secrets at each database, and over them foreign tables, partitioned as the restaurants are. ' +
      'Run it after every split and every new version of this package; running it again is harmless, and so is a crash. ' +
      'Needs the owner of each database, and the first time a superuser at the reporting database.',
  );
  return withOptions(command).action(async ({ rolePrefix, json }: Options) => {
    const { version, shards } = await renewReporting(readMapSource(), { ...place(rolePrefix), ...readReader() });
    if (json) return console.log(JSON.stringify({ version, shards }));
    printTable(
      ['database', 'restaurants', 'views'],
      shards.map((one) => [one.shard, classInWords(one), one.made ? 'made' : 'as they were']),
    );
  });
}

function statusCommand(): Command {
  const command = new Command('status').description(
    'Says whether the reporting database and the views that it reads are what the map of databases says, and whether ' +
      'each database answers. Changes nothing. Exit code 1 when something differs.',
  );
  return withOptions(command).action(async ({ rolePrefix, json }: Options) => {
    const status = await reportingStatus(readMapSource(), place(rolePrefix));
    if (!status.current) process.exitCode = ExitCode.failed;
    if (json) return console.log(JSON.stringify(status));
    printTable(
      ['database', 'restaurants', 'views', 'tables', 'answers'],
      status.shards.map((one) => [one.shard, classInWords(one), one.views, one.tables, one.answers]),
    );
    console.log(
      status.current
        ? pc.green(`Reports are those of version ${status.version} of the map.`)
        : pc.red(
            `Reports are not those of version ${status.version} of the map, but of ${status.madeBy ?? 'none'}: ` +
              'npx payment-events-db reporting renew',
          ),
    );
  });
}

function dropCommand(): Command {
  const command = new Command('drop')
    .description(
      'Drops the tables and servers of the reporting database and the views that they read. Roles and the extension stay, ' +
        'and so does what others have built: it stops the command.',
    )
    .option('--views-only', 'leave the reporting database: for a migration that a view is in the way of, until renew');
  return withOptions(command).action(async ({ rolePrefix, json, viewsOnly }: Options & { viewsOnly?: boolean }) => {
    const dropped = await dropReporting(readMapSource(), { ...place(rolePrefix), viewsOnly });
    if (json) return console.log(JSON.stringify(dropped));
    console.log(
      dropped.views.length > 0 ? `Dropped the views of ${dropped.views.join(', ')}.` : 'There were no views.',
    );
    if (dropped.reportingTables) console.log('Dropped the tables of the reporting database.');
  });
}

const place = (rolePrefix: string) => ({ ...readPlace(rolePrefix), say: console.error });
