import { Command } from 'commander';
import { readConfig } from '../../config';
import { grantPrivileges, planGrants } from '../../grants/grant-privileges';
import { DEFAULT_ROLE_PREFIX } from '../../grants/role-name';
import { printTable } from '../print-table';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

interface Options {
  rolePrefix: string;
  dryRun?: boolean;
  json?: boolean;
}

/** `payment-events-db grants`. */
export function grantsCommand(): Command {
  const command = new Command('grants')
    .description(
      'Gives the roles of the API, the workers, the relay and of people who only read exactly what their operations ' +
        'need, revokes from them and from PUBLIC everything else on our tables, and creates the roles that are missing. ' +
        'Services may keep running. Needs the owner of the database, and CREATEROLE where a role is missing. Run it ' +
        'after every migration and every restore; running it again is harmless.',
    )
    .option('--role-prefix <name>', 'what the names of the roles begin with', DEFAULT_ROLE_PREFIX)
    .option('--dry-run', 'only print the SQL, which can be run with psql')
    .option('--json', 'print JSON');
  return overShards(command, async ({ rolePrefix, dryRun, json }: Options) => {
    await withDataSource(readConfig(), async (dataSource) => {
      if (dryRun) {
        const sql = await planGrants(dataSource, rolePrefix);
        return console.log(json ? JSON.stringify({ sql }) : sql.trimEnd());
      }
      const roles = await grantPrivileges(dataSource, { rolePrefix, say: console.error });
      if (json) return console.log(JSON.stringify({ roles }));
      printTable(
        ['role', 'now'],
        roles.map(({ name, created }) => [name, created ? 'made, and has what it needs' : 'has what it needs']),
      );
    });
  });
}
