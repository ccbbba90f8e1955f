import { type Command, Option, type OptionValues } from 'commander';
import { shardMapFromEnvironment } from '../../shards/map-sources';
import { type ShardEntry } from '../../shards/shard-map';
import { ConfigurationError } from '../../errors';
import { oneByOne } from './one-by-one';
import { together } from './together';

/** How a command runs over several databases. */
interface Ways<Options> {
  /** Goes on until it is told to stop, so that all run at once. Default: one after the other. */
  readonly isEndless?: (options: Options) => boolean;
  /** Which of these databases it is for, where that takes asking. Default: all. */
  readonly choose?: (shards: readonly ShardEntry[], options: Options) => Promise<readonly ShardEntry[]>;
  /** What one database is told besides. */
  readonly argumentsOf?: (shard: ShardEntry) => readonly string[];
  /** Says what all came to, of the JSON that each printed last. People are told this alone, where it is given. */
  readonly compare?: (lasts: ReadonlyMap<string, unknown>) => Comparison;
}

/** What the databases come to together. */
export interface Comparison {
  /** For people: a column of a table each. */
  readonly headings: readonly string[];
  readonly cells: (last: unknown) => readonly (string | number | null)[];
  /** A sentence for people, where the databases differ. */
  readonly difference?: string;
}

/** One command line, for one database of the map. */
export interface ShardRun {
  readonly shard: ShardEntry;
  /** What follows the program's name. */
  readonly args: readonly string[];
}

/**
 * Gives a command `--all` and `--shard`, with which it runs as a process of its own for each of these databases, told by
 * DATABASE_URL; without them it is as it was.
 */
export function overShards<Options extends OptionValues>(
  command: Command,
  action: (options: Options) => Promise<void>,
  {
    isEndless = () => false,
    choose = (shards) => Promise.resolve(shards),
    argumentsOf = () => [],
    compare,
  }: Ways<Options> = {},
): Command {
  return command
    .addOption(new Option('--all', 'for every database of the map in PAYMENT_EVENTS_DB_SHARDS').conflicts('shard'))
    .option('--shard <name>', 'for this database of the map in PAYMENT_EVENTS_DB_SHARDS')
    .action(async ({ all, shard, ...rest }: Options & { all?: boolean; shard?: string }) => {
      const options = rest as unknown as Options;
      if (!all && shard === undefined) return action(options);
      const shards = await choose(await shardsNamed(shard), options);
      const runs = shards.map((one) => ({
        shard: one,
        args: [command.name(), ...given(command), ...argumentsOf(one)],
      }));
      process.exitCode = isEndless(options)
        ? await together(runs)
        : await oneByOne(runs, { json: process.argv.includes('--json'), compare });
    });
}

/** The one of that name, or all. */
export async function shardsNamed(name: string | undefined): Promise<readonly ShardEntry[]> {
  const { shards } = await shardMapFromEnvironment(process.env).load();
  const chosen = name === undefined ? shards : shards.filter((shard) => shard.name === name);
  if (chosen.length > 0) return chosen;
  throw new ConfigurationError(
    `--shard: the map has no database of that name. It has: ${shards.map((shard) => shard.name).join(', ')}.`,
  );
}

/** The options as they were given, but for those above. */
const given = (command: Command): string[] =>
  command.options
    .filter((option) => !['all', 'shard'].includes(option.attributeName()))
    .filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli')
    .flatMap((option) =>
      option.isBoolean() ? [option.long!] : [option.long!, String(command.getOptionValue(option.attributeName()))],
    );
