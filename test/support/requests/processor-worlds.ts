/** Two configuration versions, each an account of its own at a processor. */
export const VERSIONS = ['v1', 'v2'] as const;
export type Version = (typeof VERSIONS)[number];

/** What an account has under the request's idempotency key: it answers a repeated question with what it said first. */
type Account = 'never asked' | 'holds' | 'declined';
type World = Readonly<Record<Version, Account>>;

/**
 * Everything that may be true at the processors, as far as anybody can know: an oracle for which of them may hold money
 * that nobody has recorded. It knows accounts and what was asked of them, and nothing of attempts, rows or events.
 */
export class ProcessorWorlds {
  readonly #recorded = new Set<Version>();
  #worlds: readonly World[] = [{ v1: 'never asked', v2: 'never asked' }];
  #before: readonly World[] = [];

  /** A worker is about to ask. From now on it may have asked, whatever becomes of it. */
  begin(version: Version): void {
    this.#before = this.#worlds;
    this.#worlds = distinct([...this.#before, ...asked(this.#before, version)]);
  }

  /** It knows that its question never left. */
  notAsked(): void {
    this.#worlds = this.#before;
  }

  /** The processor has answered. False where no processor could say so after all that happened. */
  answered(version: Version, answer: Account): boolean {
    const source = answer === 'never asked' ? this.#before : asked(this.#before, version);
    this.#worlds = source.filter((world) => world[version] === answer);
    if (answer === 'holds') this.#recorded.add(version);
    return this.#worlds.length > 0;
  }

  /** The accounts that may hold money which nobody has recorded. */
  mayHold(): Version[] {
    return VERSIONS.filter(
      (version) => !this.#recorded.has(version) && this.#worlds.some((world) => world[version] === 'holds'),
    );
  }
}

const asked = (worlds: readonly World[], version: Version): World[] =>
  distinct(
    worlds.flatMap((world) =>
      world[version] === 'never asked'
        ? [
            { ...world, [version]: 'holds' as const },
            { ...world, [version]: 'declined' as const },
          ]
        : [world],
    ),
  );

const distinct = (worlds: readonly World[]): World[] => [
  ...new Map(worlds.map((world) => [`${world.v1} ${world.v2}`, world])).values(),
];
