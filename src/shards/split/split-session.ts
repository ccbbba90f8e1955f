import { type DataSource, type QueryRunner } from 'typeorm';
import { type BoundSql, query } from '../../database/sql';
import { translateError } from '../../database/translate-error';
import { TransactionConflictError } from '../../errors';
import { halvesOf, type ResidueClass } from '../../fence/residue';
import { type Say, withMigrationLock } from '../../migrator/migration-lock';
import { whileLocked, withoutTimeouts } from '../../migrations/helpers/locking';
import { assertTwoPlaces } from './assert-two-places';

/** PostgreSQL finds a deadlock in a second. */
const MOST_TIMES = 20;

export type End = SplitStatement['at'];

/** A statement that a step has sent, or would send. Values are sent beside it. */
export interface SplitStatement {
  readonly at: 'source' | 'target';
  readonly sql: string;
}

/** What a split is between, and which restaurants move. */
export interface SplitEnds {
  readonly source: DataSource;
  readonly target: DataSource;
  /** All restaurants that the source had before the split. */
  readonly whole: ResidueClass;
  /** The number of the target in the map, by which its sequences count: from number × 2^40. */
  readonly number: number;
  /** What a split that begins here is known by, at both ends. */
  readonly id: string;
  /** How the target's server reaches the source: a connection string of libpq. Holds a password, perhaps. */
  readonly connection: string;
  readonly say: Say;
}

/** One step of a split at work: a session at each end, and nobody else who splits or migrates either database. */
export class SplitSession {
  readonly stays: ResidueClass;
  readonly moves: ResidueClass;
  readonly statements: SplitStatement[] = [];
  readonly #runners: Readonly<Record<End, QueryRunner>>;

  private constructor(
    readonly ends: SplitEnds,
    source: QueryRunner,
    target: QueryRunner,
    /** Nothing is written, and {@link statements} are what would have been. */
    readonly isDryRun: boolean,
    /** The target is a physical copy of the source, or was. */
    readonly isClone: boolean,
  ) {
    this.#runners = { source, target };
    [this.stays, this.moves] = halvesOf(ends.whole);
  }

  /**
   * The locks are those of the migrations: they end with the sessions, whatever kills the process, and while a statement of a
   * killed process still runs, the next one waits for it.
   *
   * @throws MigrationInProgressError, SplitRefusedError
   */
  static async open<T>(ends: SplitEnds, isDryRun: boolean, work: (session: SplitSession) => Promise<T>): Promise<T> {
    const { source, target, say } = ends;
    try {
      const isClone = await assertTwoPlaces(ends);
      return await withMigrationLock(source, say, (atSource) =>
        withMigrationLock(target, say, (atTarget) =>
          work(new SplitSession(ends, atSource, atTarget, isDryRun, isClone)),
        ),
      );
    } catch (error) {
      throw translateError(error);
    }
  }

  /** Only looks, beside a step that is at work. */
  static async look<T>(ends: SplitEnds, work: (session: SplitSession) => Promise<T>): Promise<T> {
    const [atSource, atTarget] = [ends.source.createQueryRunner(), ends.target.createQueryRunner()];
    try {
      const isClone = await assertTwoPlaces(ends);
      return await work(new SplitSession(ends, atSource, atTarget, true, isClone));
    } catch (error) {
      throw translateError(error);
    } finally {
      await Promise.all([atSource.release(), atTarget.release()]);
    }
  }

  async read<Row>(at: End, asked: BoundSql): Promise<Row[]> {
    return await query<Row>(this.#runners[at], asked);
  }

  /** What reads a table to its end, however long that takes. */
  async scan<Row>(at: End, asked: BoundSql): Promise<Row[]> {
    return await withoutTimeouts(this.#runners[at], () => this.read<Row>(at, asked));
  }

  /** After which the sequences of the target count. */
  get first(): bigint {
    return BigInt(this.ends.number) * 2n ** 40n;
  }

  say(message: string): void {
    if (!this.isDryRun) this.ends.say(message);
  }

  /** What anything else reads there with. */
  at(end: End): QueryRunner {
    return this.#runners[end];
  }

  /** One transaction under short locks. Again, where a writer who locks the tables in another order was first. */
  async whileLocked(at: End, ...statements: string[]): Promise<void> {
    this.#note(at, statements);
    for (let time = 1; !this.isDryRun; time++) {
      try {
        return await whileLocked(this.#runners[at], ...statements);
      } catch (error) {
        if (time === MOST_TIMES || !(translateError(error) instanceof TransactionConflictError)) throw error;
      }
    }
  }

  /** One statement by itself, which may take long and stops nobody. */
  async online<Row>(at: End, statement: string | BoundSql): Promise<Row[]> {
    const { text, values } = typeof statement === 'string' ? { text: statement, values: undefined } : statement;
    this.#note(at, [text]);
    if (this.isDryRun) return [];
    const runner = this.#runners[at];
    return (await withoutTimeouts(runner, () => runner.query(text, values))) as Row[];
  }

  /** Deletes rows in a transaction that is committed where a look at them, deleted, throws nothing. Gives their number. */
  async deleteIf<Row>(at: End, statement: string, look: (deleted: Row[]) => Promise<void>): Promise<number> {
    this.#note(at, [statement]);
    if (this.isDryRun) return 0;
    const runner = this.#runners[at];
    await runner.startTransaction('READ COMMITTED');
    try {
      const [deleted] = (await runner.query(statement)) as [Row[], number];
      await look(deleted);
      await runner.commitTransaction();
      return deleted.length;
    } catch (error) {
      await runner.rollbackTransaction();
      throw error;
    }
  }

  /** Says what a function sends by the session, which keeps its lock as long as that may run. */
  async by(at: End, what: string, work: (queryRunner: QueryRunner) => Promise<unknown>): Promise<void> {
    this.#note(at, [what]);
    if (!this.isDryRun) await work(this.#runners[at]);
  }

  #note(at: End, statements: readonly string[]): void {
    this.statements.push(...statements.map((statement) => ({ at, sql: statement })));
  }
}
