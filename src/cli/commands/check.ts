import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { ConfigurationError } from '../../errors';
import { isClass, type ResidueClass } from '../../fence/residue';
import { DEFAULT_ROLE_PREFIX } from '../../grants/role-name';
import { describeDrift } from '../../schema/describe-drift';
import { compareSchema } from '../../check/drift';
import { ExitCode } from '../exit-codes';
import { overShards } from '../shards/over-shards';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';

interface Options {
  rolePrefix: string;
  ignorePrivileges?: boolean;
  class?: ResidueClass;
  number?: number;
  json?: boolean;
}

/** `payment-events-db check`. */
export function checkCommand(): Command {
  const command = new Command('check')
    .description(
      'Compares the schema of the database with what the migrations make, including guards that are switched off, ' +
        'indexes that are INVALID and privileges, and prints every object that differs; sequences that are behind their ' +
        'tables; and what else gives access to the tables: settings and further rights of roles, default privileges, ' +
        'event triggers, publications. A fence must be whole; with --all or --shard it is compared with the map, and so is the range of numbers. Reads only. Run it after every restore and move: pg_restore --disable-triggers leaves guards weaker than they were. Exit code 1 when ' +
        'something differs.',
    )
    .option('--role-prefix <name>', "what the names of the services' roles begin with", DEFAULT_ROLE_PREFIX)
    .option('--ignore-privileges', 'ignore privileges, on a database where grants does not run')
    .addOption(
      ofMap('--class <remainder/modulus>', 'the restaurants that its fence must let in, such as 1/4').argParser(
        classOf,
      ),
    )
    .addOption(
      ofMap('--number <n>', 'the number of the database, in whose range its sequences must count').argParser(
        wholeNumber,
      ),
    )
    .option('--json', 'print one JSON object a line: each object that differs, then the summary');
  return overShards(
    command,
    async ({ rolePrefix, ignorePrivileges, class: shard, number, json }: Options) => {
      await withDataSource(readConfig(), async (dataSource) => {
        if (number !== undefined && !shard) throw new ConfigurationError('--number: name the --class as well.');
        const { name, drift } = await compareSchema(dataSource, {
          ...{ rolePrefix, ignorePrivileges },
          ...(shard && { shard: { ...shard, number } }),
        });
        if (drift.length > 0) process.exitCode = ExitCode.failed;
        if (json) {
          for (const one of drift) console.log(JSON.stringify(one));
          return console.log(JSON.stringify({ kind: 'summary', comparedWith: name, differing: drift.length }));
        }
        for (const line of drift.flatMap(describeDrift)) console.log(colourOf(line)(line));
        console.log(
          drift.length === 0
            ? pc.green(`The schema is that of ${name}.`)
            : pc.red(`The schema is not that of ${name} (-): ${count(drift.length)} in the database (+).`),
        );
      });
    },
    {
      argumentsOf: ({ modulus, remainder, number }) => [
        '--class',
        `${remainder}/${modulus}`,
        '--number',
        String(number),
      ],
    },
  );
}

/** With a map it is the map that says so. */
const ofMap = (flags: string, description: string) => new Option(flags, description).conflicts(['all', 'shard']);

function classOf(text: string): ResidueClass {
  const [, remainder, modulus] = /^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? [];
  const shard = { modulus: Number(modulus), remainder: Number(remainder) };
  if (isClass(shard)) return shard;
  throw new InvalidArgumentError(
    'It must be a remainder and a modulus that is a power of two up to 1024, such as 1/4.',
  );
}

const colourOf = (line: string) => (line.startsWith('  - ') ? pc.red : line.startsWith('  + ') ? pc.green : pc.bold);

const count = (objects: number) => `${objects} ${objects === 1 ? 'object differs' : 'objects differ'}`;
