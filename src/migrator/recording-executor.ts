import { type DataSource, Migration, MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import { knownMigrations, nameOf, recordingStatement, timestampOf } from './history';
import { LOCK_TIMEOUT_MS } from './locking';

/** What {@link RecordingExecutor} is told besides. */
export interface ExecutorSettings {
  /** Whether a migration that says nothing else runs in a transaction. */
  readonly inTransaction: boolean;
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
  #began = performance.now();

  constructor(
    dataSource: DataSource,
    queryRunner: QueryRunner,
    private readonly settings: ExecutorSettings,
  ) {
    super(dataSource, queryRunner);
    this.transaction = settings.inTransaction ? 'each' : 'none';
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

  protected override async insertExecutedMigration(queryRunner: QueryRunner, { instance }: Migration): Promise<void> {
    const durationMs = this.fake ? undefined : Math.round(performance.now() - this.#began);
    await queryRunner.query(await recordingStatement(instance!, durationMs));
  }

  #wrap(migration: MigrationInterface): MigrationInterface {
    const run = async (queryRunner: QueryRunner, direction: 'up' | 'down') => {
      this.#began = performance.now();
      this.settings.begin(migration, direction);
      if (queryRunner.isTransactionActive) await queryRunner.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT_MS}ms'`);
      await migration[direction](queryRunner);
    };
    return {
      name: nameOf(migration),
      transaction: migration.transaction,
      up: (queryRunner) => run(queryRunner, 'up'),
      down: (queryRunner) => run(queryRunner, 'down'),
    };
  }
}
