import { z } from 'zod';
import { databaseAddress } from '../database/database-address';
import { readDatabaseUrl } from '../database/database-url';
import { ConfigurationError } from '../errors';
import { classInWords, hasHash, hashOf, isPowerOfTwo, LARGEST_MODULUS, type ResidueClass } from '../fence/residue';
import { LARGEST_NUMBER } from '../fence/sequence-range';

/** One database and the restaurants that it has. */
export interface ShardEntry extends ResidueClass {
  /** For people, logs and the command line: small letters, digits and hyphens, 40 at most. */
  readonly name: string;
  /** No other database has it, ever: 0 to 8,191. Its sequences count from number × 2^40, so that rows can move anywhere. */
  readonly number: number;
  /** As `DATABASE_URL`. May hold a password: not for logs. */
  readonly url: string;
}

/** Where each restaurant is. Every class is there exactly once. */
export interface ShardMap {
  /** 1 or more. A map replaces another only when its version is greater. */
  readonly version: number;
  readonly shards: readonly ShardEntry[];
}

/** Where the map is read from, again and again: a file, a database, a service of yours. */
export interface ShardMapSource {
  /** Reads the map as it is now. One that takes longer than 10 seconds counts as failed. */
  load(): Promise<ShardMap>;
}

const entry = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be small letters, digits and hyphens, 40 at most' }),
    modulus: z
      .int()
      .min(1)
      .max(LARGEST_MODULUS)
      .refine(isPowerOfTwo, { error: `must be a power of two, 1 to ${LARGEST_MODULUS}` }),
    remainder: z.int().min(0),
    number: z.int().min(0).max(LARGEST_NUMBER),
    url: z.string().transform((text, context) => {
      const read = readDatabaseUrl(text);
      if ('url' in read) return read.url;
      context.addIssue({ code: 'custom', message: read.problem });
      return z.NEVER;
    }),
  })
  .refine(({ modulus, remainder }) => remainder < modulus, {
    path: ['remainder'],
    error: 'must be smaller than the modulus',
  });

const shape = z.strictObject({ version: z.int().min(1), shards: z.array(entry).min(1).max(LARGEST_MODULUS) });

/** What has been read is not read again: of a thousand databases that takes a while, and each source reads what it loads. */
const read = new WeakSet<object>();

/**
 * Reads a map out of JSON, and freezes it.
 *
 * ```json
 * {
 *   "version": 1,
 *   "shards": [
 *     { "name": "a", "modulus": 2, "remainder": 0, "number": 0, "url": "postgresql://db-a/payment_events_db" },
 *     { "name": "b", "modulus": 2, "remainder": 1, "number": 1, "url": "postgresql://db-b/payment_events_db" }
 *   ]
 * }
 * ```
 *
 * @throws ConfigurationError naming all that is wrong, and never a value
 */
export function readShardMap(input: unknown): ShardMap {
  if (read.has(input as object)) return input as ShardMap;
  const parsed = shape.safeParse(input);
  if (!parsed.success) {
    throw new ConfigurationError(
      parsed.error.issues
        .map(({ path, message }) => `Shard map: ${[...path].join('.') || 'it'} ${message}.`)
        .join('\n'),
    );
  }
  const { version, shards } = parsed.data;
  const problems = [...repeated(shards), ...uncovered(shards)];
  if (problems.length > 0) throw new ConfigurationError(problems.map((one) => `Shard map: ${one}.`).join('\n'));
  const map = Object.freeze({ version, shards: Object.freeze(shards.map((one) => Object.freeze(one))) });
  read.add(map);
  return map;
}

/** The database of a restaurant. */
export function entryOf({ shards }: ShardMap, restaurantId: string): ShardEntry {
  const hash = hashOf(restaurantId);
  // A map that was read covers every class.
  return shards.find((shard) => hasHash(shard, hash))!;
}

/** Names, numbers and databases that two entries have. */
function repeated(shards: readonly ShardEntry[]): string[] {
  const problems: string[] = [];
  const place = ({ url }: ShardEntry) => {
    const { host, port, database } = databaseAddress(url);
    return `${host}:${port}/${database}`;
  };
  for (const [what, of] of [
    ['name', ({ name }: ShardEntry) => name],
    ['number', ({ number }: ShardEntry) => String(number)],
    ['database', place],
  ] as const) {
    const seen = new Map<string, string>();
    for (const shard of shards) {
      const value = of(shard);
      const first = seen.get(value);
      if (first !== undefined) problems.push(`${first} and ${shard.name} have the same ${what}`);
      seen.set(value, shard.name);
    }
  }
  return problems;
}

/** Every class of the largest modulus in use must have one database. */
function uncovered(shards: readonly ShardEntry[]): string[] {
  const modulus = Math.max(...shards.map((one) => one.modulus));
  const owners = Array.from({ length: modulus }, (): string[] => []);
  for (const shard of shards) {
    for (let remainder = shard.remainder; remainder < modulus; remainder += shard.modulus)
      owners[remainder]!.push(shard.name);
  }
  const problems = owners.flatMap((names, remainder) => {
    if (names.length === 1) return [];
    if (names.length > 1) return [`${names.join(' and ')} have the same restaurants`];
    return [`no database has class ${classInWords({ modulus, remainder })}`];
  });
  return [...new Set(problems)];
}
