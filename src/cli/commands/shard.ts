import { Command } from 'commander';
import pc from 'picocolors';
import { type PaymentEventsDataSource } from '../../data-source';
import { databaseAddress } from '../../database/database-address';
import { isAClass, readFences } from '../../fence/read-fence';
import { classInWords } from '../../fence/residue';
import { readSequenceNumbers, setSequenceRange } from '../../fence/sequence-range';
import { setFence } from '../../fence/set-fence';
import { shardMapDirectory } from '../../shards/map-directory';
import { shardMapFromEnvironment } from '../../shards/map-sources';
import { entryOf, type ShardEntry } from '../../shards/shard-map';
import { readConfig } from '../../config';
import { ExitCode } from '../exit-codes';
import { printTable } from '../print-table';
import { reportError } from '../report-error';
import { shardsNamed } from '../shards/over-shards';
import { worst } from '../shards/shard-process';
import { uuidArgument } from '../uuid-argument';
import { withDataSource } from '../with-data-source';
import { shardSplitCommand } from './shard-split';

/** `payment-events-db shard …`. */
export function shardCommand(): Command {
  const shard = new Command('shard').description(
    'Where restaurants are, of several databases: the map that PAYMENT_EVENTS_DB_SHARDS holds or names.',
  );

  shard
    .command('map')
    .description('Reads the map, says what is wrong with it, and prints it. Connects to no database.')
    .option('--json', 'print one JSON object a line, without the URL')
    .action(async ({ json }: { json?: boolean }) => {
      const { version, shards } = await mapInUse();
      if (json) {
        for (const { name, modulus, remainder, number, url } of shards) {
          const { host, port, database } = databaseAddress(url);
          console.log(JSON.stringify({ name, modulus, remainder, number, host, port, database }));
        }
        return console.log(JSON.stringify({ kind: 'summary', version, shards: shards.length }));
      }
      printTable(
        ['shard', 'restaurants', 'number', 'database'],
        shards.map((one) => [one.name, classInWords(one), one.number, placeOf(one)]),
      );
      console.log(`Version ${version}.`);
    });

  shard
    .command('of')
    .description('Prints which database has a restaurant. Connects to none.')
    .argument('<restaurant id>', 'its UUID', uuidArgument('A restaurant'))
    .option('--json', 'print JSON')
    .action(async (restaurantId: string, { json }: { json?: boolean }) => {
      const entry = entryOf(await mapInUse(), restaurantId);
      const { name, modulus, remainder } = entry;
      if (json) return console.log(JSON.stringify({ restaurantId, shard: name, modulus, remainder }));
      console.log(`${name} (${classInWords(entry)}), ${placeOf(entry)}`);
    });

  shard
    .command('fence')
    .description(
      'Has each database of the map refuse the restaurants of the others, and count its rows in a range of its own. Services ' +
        'may keep running. Running it again is harmless. A fence becomes narrower by it, and wider only where that is said. Needs the owner of the tables.',
    )
    .option('--shard <name>', 'only this database of the map')
    .option('--widen', 'let a database take more restaurants than its fence does now')
    .option('--dry-run', 'only print what each has and is to have')
    .option('--json', 'print one JSON object a line')
    .action(async ({ shard: name, ...options }: { shard?: string } & FenceOptions) => {
      const codes: ExitCode[] = [];
      for (const entry of await shardsNamed(name)) codes.push(await fence(entry, options));
      process.exitCode = worst(codes);
    });

  shard
    .command('publish')
    .description(
      'Makes the map of PAYMENT_EVENTS_DB_SHARDS the one in force in a directory, which is the database of DATABASE_URL. Its ' +
        'version must be the one after what is there, and its URLs hold no password.',
    )
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const map = await mapInUse();
      await shardMapDirectory(readConfig().dataSource).publish(map);
      console.log(json ? JSON.stringify({ published: map.version }) : `Published version ${map.version}.`);
    });

  return shard.addCommand(shardSplitCommand());
}

const mapInUse = () => shardMapFromEnvironment(process.env).load();

function placeOf({ url }: ShardEntry): string {
  const { host, port, database } = databaseAddress(url);
  return `${database} at ${host}:${port}`;
}

interface FenceOptions {
  readonly widen?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Of one database. What fails is told, and does not stop the others. */
async function fence(entry: ShardEntry, { widen, dryRun, json = false }: FenceOptions): Promise<ExitCode> {
  const tell = (changed: boolean, text: string) => {
    const { name, modulus, remainder, number } = entry;
    if (json)
      console.log(JSON.stringify({ shard: name, modulus, remainder, number, changed, dryRun: dryRun ?? false }));
    else console.log(`${pc.bold(name)}  ${text}`);
  };
  const is = `class ${classInWords(entry)}, number ${entry.number}`;
  try {
    const config = readConfig({ ...process.env, DATABASE_URL: entry.url });
    await withDataSource(
      config,
      async (dataSource) => {
        if (dryRun) {
          const has = await present(dataSource);
          return tell(has !== is, has === is ? `has ${is}.` : `is to have ${is}; has ${has}.`);
        }
        // The range first: a row that is let in already has a number of its own.
        const ranged = await setSequenceRange(dataSource, entry.number);
        const fenced = await setFence(dataSource, entry, { widen });
        tell(ranged || fenced, `${ranged || fenced ? 'now has' : 'has'} ${is}.`);
      },
      { isSilent: true },
    );
    return ExitCode.ok;
  } catch (error) {
    if (!json) console.error(pc.bold(entry.name));
    return reportError(error, { json, of: entry });
  }
}

const FENCES = { altered: 'an altered fence', receives: 'the fence of the target of a split' };

/** In the words of what it is to have. */
async function present(dataSource: PaymentEventsDataSource): Promise<string> {
  const words = (all: Iterable<string>) => [...new Set(all)].join(' and ');
  const fences = [...(await readFences(dataSource)).values()].map((one) =>
    isAClass(one) ? `class ${classInWords(one)}` : one ? FENCES[one] : 'no fence',
  );
  const numbers = [...(await readSequenceNumbers(dataSource)).values()].map((one) => `number ${one}`);
  return `${words(fences)}, ${words(numbers)}`;
}
