import { Command } from 'commander';
import pc from 'picocolors';
import { writeFile } from 'node:fs/promises';
import { readConfig } from '../../config';
import { readDatabaseUrl } from '../../database/database-url';
import { ConfigurationError } from '../../errors';
import { classInWords, type ResidueClass } from '../../fence/residue';
import { shardMapFromEnvironment } from '../../shards/map-sources';
import { type ShardEntry, type ShardMap } from '../../shards/shard-map';
import { ShardSplit, SPLIT_STEPS, type SplitStatus } from '../../shards/split/shard-split';
import { splitMap } from '../../shards/split/split-map';
import { type SplitStatement } from '../../shards/split/split-session';
import { ExitCode } from '../exit-codes';
import { type SHARD_VARIABLES } from '../shards/variables';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';

interface Ends {
  from: string;
  to?: string;
  number?: number;
}
interface StepOptions extends Ends {
  dryRun?: boolean;
  json?: boolean;
}

/** Where the target is, and how its server reaches the source: in the environment, since other users see a command line. */
const TO = 'PAYMENT_EVENTS_DB_SPLIT_TO' satisfies keyof typeof SHARD_VARIABLES;
const CONNECTION = 'PAYMENT_EVENTS_DB_SPLIT_CONNECTION' satisfies keyof typeof SHARD_VARIABLES;

type Step = (split: ShardSplit, map: ShardMap, dryRun: boolean) => Promise<SplitStatement[]>;

const STEPS: readonly (readonly [name: string, description: string, step: Step])[] = [
  [
    'prepare',
    'Looks whether the two databases are fit for a split, and makes the empty target ready for the copy.',
    (split, _map, dryRun) => split.prepare({ dryRun }),
  ],
  [
    'publish',
    'Publishes what moves, at the source. Its tables are locked for an instant.',
    (split, _map, dryRun) => split.publish({ dryRun }),
  ],
  [
    'subscribe',
    'Has the target copy what moves, and waits until it follows the source. Services go on.',
    (split, _map, dryRun) => split.subscribe({ dryRun }),
  ],
  [
    'cut-over',
    'Hands over. From here on until the services have the new map, writes of what moves are refused: have the map at hand.',
    (split, _map, dryRun) => split.cutOver({ dryRun }),
  ],
  [
    'clone',
    'In the place of prepare to cut-over: the target is a promoted physical standby of the source, which has its fence. No relay may run.',
    (split, _map, dryRun) => split.takeClone({ dryRun }),
  ],
  [
    'clean-up',
    'Deletes at the source what the target has, once the map is switched, and the other way round at a clone. Events stay: they are never deleted.',
    (split, map, dryRun) => split.cleanUp(map, { dryRun }),
  ],
  [
    'undo',
    'Gives the source everything back and closes the target for good, as long as the map is the old one.',
    (split, map, dryRun) => split.undo(map, { dryRun }),
  ],
];

/** `payment-events-db shard split …`. */
export function shardSplitCommand(): Command {
  const split = new Command('split').description(
    'Moves half of the restaurants of a database of the map to a new one, while services write. Each step may be run again, ' +
      'also after it was killed; status says what is next.',
  );

  const between = (name: string, description: string) =>
    split
      .command(name)
      .description(description)
      .requiredOption('--from <name>', 'the database of the map in PAYMENT_EVENTS_DB_SHARDS that is split')
      .option('--to <name or url>', `the target: its URL, and once the map has it its name. Default: the URL in ${TO}`)
      .option(
        '--number <n>',
        'of the target in the map, which no database ever had. Default: what the map says',
        wholeNumber,
      )
      .option('--json', 'print JSON');

  between(
    'status',
    'Prints how far the split is, by the catalogs of both databases alone. Exit code 1 where it is broken.',
  ).action(async ({ json, ...ends }: StepOptions) => {
    await withSplit(ends, async (shardSplit, map) => {
      const status = await shardSplit.status(map);
      print(status, json);
      if (status.broken !== undefined) process.exitCode = ExitCode.failed;
    });
  });

  for (const [name, description, step] of STEPS) {
    between(name, description)
      .option('--dry-run', 'only print the statements')
      .action(async ({ json, dryRun = false, ...ends }: StepOptions) => {
        await withSplit(ends, async (shardSplit, map) => {
          const statements = await step(shardSplit, map, dryRun);
          if (!dryRun) return print(await shardSplit.status(map), json);
          if (json) return console.log(JSON.stringify({ statements }));
          for (const { at, sql } of statements) console.log(`${pc.dim(`-- ${at}`)}\n${sql};`);
        });
      });
  }

  between('run', 'Does prepare, publish, subscribe and cut-over, whatever of them is left.').action(
    async ({ json, ...ends }: StepOptions) => {
      await withSplit(ends, async (shardSplit, map) => {
        await shardSplit.run();
        print(await shardSplit.status(map), json);
      });
    },
  );

  between('map', 'Writes the next map into a new file, in which the target has what moves. Connects to no database.')
    .requiredOption('--name <name>', 'of the target in the map')
    .requiredOption('--output <file>', 'must not be there yet; only its owner may read it, for it may hold passwords')
    .action(async ({ from, to, number, name, output, json }: StepOptions & { name: string; output: string }) => {
      const map = await mapInUse();
      const url = urlOf(to ?? process.env[TO], map);
      const next = splitMap(map, from, { name, number: number ?? refuseNumber(map), url });
      await writeFile(output, `${JSON.stringify(next, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
      console.log(json ? JSON.stringify({ version: next.version }) : `Version ${next.version} is in ${output}.`);
    });

  return split;
}

const mapInUse = () => shardMapFromEnvironment(process.env).load();

async function withSplit(
  { from, to = process.env[TO], number }: Ends,
  work: (split: ShardSplit, map: ShardMap) => Promise<void>,
): Promise<void> {
  const map = await mapInUse();
  const source = named(map, from);
  const known = map.shards.find(({ name }) => name === to);
  const [atSource, atTarget] = [source.url, urlOf(to, map)].map((url) =>
    readConfig({ ...process.env, DATABASE_URL: url }),
  );
  await withDataSource(atSource!, (sourceDataSource) =>
    withDataSource(atTarget!, async (targetDataSource) => {
      const split = new ShardSplit({
        source: sourceDataSource,
        target: targetDataSource,
        shard: known ? wholeOf(source, known) : source,
        number: numberIn(map, known, number),
        connection: process.env[CONNECTION] || undefined,
        say: (message) => console.error(message),
      });
      await work(split, map);
    }),
  );
}

function named({ shards }: ShardMap, name: string): ShardEntry {
  const found = shards.find((shard) => shard.name === name);
  if (found) return found;
  throw new ConfigurationError(
    `--from: the map has no database of that name. It has: ${shards.map((shard) => shard.name).join(', ')}.`,
  );
}

function urlOf(to: string | undefined, { shards }: ShardMap): string {
  const known = shards.find(({ name }) => name === to);
  if (known) return known.url;
  const read = readDatabaseUrl(to ?? '');
  if ('url' in read) return read.url;
  throw new ConfigurationError(
    `--to, or ${TO}, must name a database of the map, or be its URL, which ${read.problem}.`,
  );
}

/** What the map says of the target; before it has it, what no other database of the map has. */
function numberIn(map: ShardMap, known: ShardEntry | undefined, number = known?.number): number {
  if (number === undefined) return refuseNumber(map);
  if (known && known.number !== number) {
    throw new ConfigurationError(`--number: in the map ${known.name} has ${known.number}. Leave it out.`);
  }
  const other = map.shards.find((shard) => shard !== known && shard.number === number);
  if (!other) return number;
  throw new ConfigurationError(
    `--number: ${other.name} has ${number}. Give one that no database ever had, such as ${freeNumber(map)}. ` +
      `Where the map has the target already, give its name: --to.`,
  );
}

const freeNumber = ({ shards }: ShardMap): number => Math.max(...shards.map(({ number }) => number)) + 1;

function refuseNumber(map: ShardMap): never {
  throw new ConfigurationError(`--number must be given: one that no database ever had, such as ${freeNumber(map)}.`);
}

/** What two halves were before the map was switched. */
function wholeOf(stays: ShardEntry, moves: ShardEntry): ResidueClass {
  const whole = { modulus: stays.modulus / 2, remainder: stays.remainder };
  if (stays.modulus === moves.modulus && moves.remainder === whole.remainder + whole.modulus) return whole;
  throw new ConfigurationError(
    `${stays.name} has class ${classInWords(stays)} and ${moves.name} ${classInWords(moves)}: these are not what stays and ` +
      'what moves of one split.',
  );
}

function print(status: SplitStatus, json = false): void {
  if (json) return console.log(JSON.stringify({ ...status, next: status.next ?? null, broken: status.broken ?? null }));
  const { stays, moves, done, next, copied, lagBytes, broken } = status;
  console.log(`Class ${classInWords(stays)} stays, ${classInWords(moves)} moves.`);
  for (const step of SPLIT_STEPS) {
    const mark = done.includes(step) ? pc.green('done') : step === next ? pc.yellow('next') : '    ';
    console.log(`${mark}  ${step}`);
  }
  if (next === 'subscribe') console.log(`${copied.ready} of ${copied.of} tables follow the source.`);
  if (lagBytes !== null) console.log(`The target is ${lagBytes.toLocaleString('en-US')} bytes of WAL behind.`);
  if (next === 'switch') console.log(pc.yellow('Writes of what moves are refused: give all services the new map now.'));
  if (broken !== undefined) console.log(pc.red(broken));
}
