/**
 * A database's share of the restaurants: those whose hash has this remainder. Classes with moduli that are powers of two
 * either contain one another or have nothing in common, so that one splits into two halves: see {@link halvesOf}.
 */
export interface ResidueClass {
  /** A power of two: 1 to 1,024. */
  readonly modulus: number;
  /** 0 to below the modulus. */
  readonly remainder: number;
}

/** Up to here one constant, {@link PARTITION_CONSTANT}, is enough for the fence: its further bits are never looked at. */
export const LARGEST_MODULUS = 1_024;

/** HASH_PARTITION_SEED of PostgreSQL, of which hash partitioning makes every hash: src/include/catalog/partition.h. */
export const PARTITION_SEED = 8816678312871386365n;
const SEED_HIGH = Number(PARTITION_SEED >> 32n) | 0;
const SEED_LOW = Number(PARTITION_SEED & 0xffffffffn) | 0;

/** The low word of what PostgreSQL adds when it combines the hash of a first column with none: hash_combine64. */
export const COMBINED = 0x15e5a8e3;
/** The bits of it that a modulus looks at. */
export const PARTITION_CONSTANT = COMBINED & (LARGEST_MODULUS - 1);

const rotated = (word: number, bits: number) => (word << bits) | (word >>> (32 - bits));

/**
 * The low 32 bits of the hash by which PostgreSQL picks the partition of a row in a table that is partitioned by hash of
 * one uuid column, as an unsigned number. Of a power-of-two modulus no further bit counts.
 *
 * It is `uuid_hash_extended`, Bob Jenkins' lookup3 over four words (http://burtleburtle.net/bob/c/lookup3.c; PostgreSQL:
 * src/common/hashfn.c), and a constant. PostgreSQL reads the words in the byte order of its machine, here little-endian:
 * `Shards` compares a constant with each server before it trusts it.
 */
export function hashOf(restaurantId: string): number {
  const bytes = Buffer.from(restaurantId.replaceAll('-', ''), 'hex');
  let a = (0x9e3779b9 + bytes.length + 3_923_095) | 0;
  let b = a;
  let c = a;
  const mix = () => {
    a = (a - c) ^ rotated(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotated(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, 4);
    b = (b + a) | 0;
  };
  a = (a + SEED_HIGH) | 0;
  b = (b + SEED_LOW) | 0;
  mix();
  a = (a + bytes.readInt32LE(0)) | 0;
  b = (b + bytes.readInt32LE(4)) | 0;
  c = (c + bytes.readInt32LE(8)) | 0;
  mix();
  a = (a + bytes.readInt32LE(12)) | 0;
  c = ((c ^ b) - rotated(b, 14)) | 0;
  a = ((a ^ c) - rotated(c, 11)) | 0;
  b = ((b ^ a) - rotated(a, 25)) | 0;
  c = ((c ^ b) - rotated(b, 16)) | 0;
  a = ((a ^ c) - rotated(c, 4)) | 0;
  b = ((b ^ a) - rotated(a, 14)) | 0;
  c = ((c ^ b) - rotated(b, 24)) | 0;
  return (c + COMBINED) >>> 0;
}

/** Which of `modulus` classes a restaurant is in. */
export const remainderOf = (restaurantId: string, modulus: number): number => hashOf(restaurantId) & (modulus - 1);

/** Whether a restaurant is in the class. */
export const owns = (shard: ResidueClass, restaurantId: string): boolean => hasHash(shard, hashOf(restaurantId));

/** The same by its {@link hashOf}, which takes longest: for who looks through many classes. */
export const hasHash = ({ modulus, remainder }: ResidueClass, hash: number): boolean =>
  (hash & (modulus - 1)) === remainder;

/** The two classes that a class splits into: one stays, the other moves. */
export const halvesOf = ({ modulus, remainder }: ResidueClass): readonly [stays: ResidueClass, moves: ResidueClass] => [
  { modulus: modulus * 2, remainder },
  { modulus: modulus * 2, remainder: remainder + modulus },
];

/** Whether every restaurant of the one class is in the other too: the same class, or a part of it. */
export const contains = (whole: ResidueClass, part: ResidueClass): boolean =>
  whole.modulus <= part.modulus && hasHash(whole, part.remainder);

/** Whether two objects say the same class. */
export const isSameClass = (one: ResidueClass, other: ResidueClass): boolean =>
  one.modulus === other.modulus && one.remainder === other.remainder;

/** Of a positive integer, as a modulus is. */
export const isPowerOfTwo = (value: number): boolean => (value & (value - 1)) === 0;

/** Whether there is such a class. */
export const isClass = ({ modulus, remainder }: ResidueClass): boolean =>
  Number.isInteger(modulus) &&
  Number.isInteger(remainder) &&
  modulus >= 1 &&
  modulus <= LARGEST_MODULUS &&
  isPowerOfTwo(modulus) &&
  remainder >= 0 &&
  remainder < modulus;

/** For people: `1 of 4`. */
export const classInWords = ({ modulus, remainder }: ResidueClass): string => `${remainder} of ${modulus}`;
