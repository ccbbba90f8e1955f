import { type DataSource, Migration, MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import { type Queryable } from '../database/queryable';
import { readCatalog } from '../schema/catalog';
import {
  type Begun,
  beginningStatement,
  ENDING_STATEMENT,
  forgettingStatement,
  isMarked,
  knownMigrations,
  nameOf,
  recordingStatement,
  timestampOf,
} from './history';
import { LOCK_TIMEOUT_MS } from '../migrations/helpers/locking';

/** What {@link RecordingExecutor} is told besides. */
export interface ExecutorSettings {
  /** Called when a migration begins. */
  readonly begin: (migration: MigrationInterface, direction: 'up' | 'down') => void;
}

/**
 * TypeORM's executor, which also writes down what its own history does not hold. The migrations it is given are ours in
 * a wrapping: what runs in a transaction does so under `lock_timeout`.
 */
export class RecordingExecutor extends MigrationExecutor {
  /** The last migration that it may run. Default: the last there is. */
  to: string | undefined;
  /** The migration that is half applied already: it keeps its mark until it has come to an end, the other one included. */
  begun: Begun | undefined;
  #began = performance.now();

  constructor(
    dataSource: DataSource,
    private readonly session: QueryRunner,
    private readonly settings: ExecutorSettings,
  ) {
    super(dataSource, session);
    this.transaction = 'each';
  }

  /**
   * Brings the migration that is half applied to an end, the same or the other one: its row, or that it has none, says
   * already how things are then.
   */
  async end(direction: 'up' | 'down'): Promise<void> {
    const { instance, name } = this.getMigrations().find(({ name }) => name === this.begun?.name)!;
    if (!this.fake) await instance![direction](this.session);
    await this.session.query(ENDING_STATEMENT);
    this.begun = undefined;
    const done = direction === 'up' ? 'executed' : 'reverted';
    void this.dataSource.logger.logSchemaBuild(`Migration ${name} has been ${done} successfully.`);
  }

  override async undoLastMigration(): Promise<void> {
    const [last] = await this.getExecutedMigrations();
    this.transaction = this.#known(last?.name)?.transaction === false ? 'none' : 'each';
    await super.undoLastMigration();
  }

  protected override getMigrations(): Migration[] {
    const all = knownMigrations(this.dataSource);
    const last = all.findIndex((migration) => nameOf(migration) === this.to);
    return all
      .slice(0, last < 0 ? all.length : last + 1)
      .map(
        (migration) =>
          new Migration(undefined, timestampOf(nameOf(migration)), nameOf(migration), this.#wrap(migration)),
      );
  }

  protected override async insertExecutedMigration(queryRunner: QueryRunner, { name }: Migration): Promise<void> {
    const durationMs = this.fake ? undefined : Math.round(performance.now() - this.#began);
    const migration = this.#known(name)!;
    await this.#record(queryRunner, migration, await recordingStatement(migration, durationMs));
  }

  protected override async deleteExecutedMigration(queryRunner: QueryRunner, { name }: Migration): Promise<void> {
    const migration = this.#known(name)!;
    await this.#record(queryRunner, migration, forgettingStatement(migration));
  }

  /** As it is, without the wrapping. */
  #known(name: string | undefined): MigrationInterface | undefined {
    return knownMigrations(this.dataSource).find((migration) => nameOf(migration) === name);
  }

  /** One string is one transaction: there is never a row without its mark, or a mark without its row. */
  async #record(queryRunner: QueryRunner, migration: MigrationInterface, statement: string): Promise<void> {
    await queryRunner.query(isMarked(migration) ? [ENDING_STATEMENT, statement].join(';\n') : statement);
    this.begun = undefined;
  }

  #wrap(migration: MigrationInterface): MigrationInterface {
    const run = async (queryRunner: QueryRunner, direction: 'up' | 'down') => {
      this.#began = performance.now();
      this.settings.begin(migration, direction);
      if (queryRunner.isTransactionActive) await queryRunner.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT_MS}ms'`);
      if (!isMarked(migration) || this.begun) return void (await migration[direction](queryRunner));
      await unmarkIfUnchanged(queryRunner, async () => {
        await queryRunner.query(beginningStatement(migration, direction));
        await migration[direction](queryRunner);
      });
    };
    return {
      name: nameOf(migration),
      transaction: migration.transaction,
      up: (queryRunner) => run(queryRunner, 'up'),
      down: (queryRunner) => run(queryRunner, 'down'),
    };
  }
}

/** A migration that has refused to begin, or has given up a first lock, left everything as it was: nothing is half applied. */
async function unmarkIfUnchanged(session: Queryable, run: () => Promise<void>): Promise<void> {
  const before = await readCatalog(session);
  try {
    await run();
  } catch (error) {
    // Where the connection is gone the mark stays, which is true of a migration that may have done something.
    const isUnchanged = await readCatalog(session).then(
      (after) => after === before,
      () => false,
    );
    if (isUnchanged) await session.query(ENDING_STATEMENT).catch(() => undefined);
    throw error;
  }
}
