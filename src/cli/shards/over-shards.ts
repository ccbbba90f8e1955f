import { type Command, Option, type OptionValues } from 'commander';
import { shardMapFromEnvironment } from '../../shards/map-sources';
import { type ShardEntry } from '../../shards/shard-map';
import { ConfigurationError } from '../../errors';
import { oneByOne } from './one-by-one';
import { together } from './together';

/** How a command runs over several databases. */
interface Ways<Args extends unknown[], Options> {
  /** Goes on until it is told to stop, so that all run at once. Default: one after the other. */
  readonly isEndless?: (options: Options) => boolean;
  /** Which of these databases it is for, where that takes asking. Default: all. */
  readonly choose?: (shards: readonly ShardEntry[], ...given: [...Args, Options]) => Promise<readonly ShardEntry[]>;
  /** It is for one database, and nobody can tell which: `--shard` alone. */
  readonly isForOne?: boolean;
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
export function overShards<Args extends unknown[], Options extends OptionValues>(
  command: Command,
  action: (...given: [...Args, Options]) => Promise<void>,
  { isEndless = () => false, choose, isForOne = false, argumentsOf = () => [], compare }: Ways<Args, Options> = {},
): Command {
  const all = new Option('--all', 'for every database of the map in PAYMENT_EVENTS_DB_SHARDS').conflicts('shard');
  const one = new Option('--shard <name>', 'for this database of the map in PAYMENT_EVENTS_DB_SHARDS');
  const ours = isForOne ? [one] : [all, one];
  for (const option of ours) command.addOption(option);
  return command.action(async () => {
    const shard = command.getOptionValue('shard') as string | undefined;
    const options = command.opts();
    const isForAll = !isForOne && options.all === true;
    for (const option of ours) delete options[option.attributeName()];
    const given = [...(command.processedArgs as unknown[]), options] as unknown as [...Args, Options];
    if (!isForAll && shard === undefined) return action(...given);
    const named = await shardsNamed(shard);
    const shards = choose ? await choose(named, ...given) : named;
    const runs = shards.map((entry) => ({
      shard: entry,
      args: [...wordsOf(command), ...givenTo(command, ours), ...argumentsOf(entry), ...operandsOf(command)],
    }));
    process.exitCode = isEndless(options as Options)
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

/** By which it is called, such as `requests stuck`. */
const wordsOf = (command: Command): string[] => (command.parent ? [...wordsOf(command.parent), command.name()] : []);

/** The options as they were given, but for these. */
const givenTo = (command: Command, ours: readonly Option[]): string[] =>
  command.options
    .filter((option) => !ours.includes(option))
    .filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli')
    .flatMap((option) => {
      const value: unknown = command.getOptionValue(option.attributeName());
      return option.isBoolean() ? [option.long!] : [option.long!, ...[value].flat().map(String)];
    });

/** The arguments as they were given: none of them is taken for an option. */
const operandsOf = ({ args }: Command): string[] => (args.length > 0 ? ['--', ...args] : []);
