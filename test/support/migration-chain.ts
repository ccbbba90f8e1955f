import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { migrations } from '../../src/migrations';
import { readCatalog } from '../../src/migrator/catalog';
import { type DatabaseOfFile } from './use-test-database';

/** How many migrations a database of each Alembic revision has behind it. */
export const LEGACY_LEVEL = 2;
/** Legacy clients keep working up to and including this many migrations. */
export const EXPANDED_LEVEL = 4;
export const LATEST_LEVEL = migrations.length;

/** A database that is walked up and down the chain. Level n is: the first n migrations have run. */
export class MigrationChain {
  readonly #database: { url: string };

  constructor(database: { url: string }) {
    this.#database = database;
  }

  /** Runs what is pending up to a level, as `migration:run` of a package with so many migrations does. */
  upTo(level: number): Promise<void> {
    return this.#using(migrations.slice(0, level), async (dataSource) => {
      await dataSource.runMigrations();
    });
  }

  /** Reverts the last migrations, as so many calls of `migration:revert` do. */
  revert(count = 1): Promise<void> {
    return this.#using(migrations, async (dataSource) => {
      for (let i = 0; i < count; i++) await dataSource.undoLastMigration();
    });
  }

  catalog(): Promise<string> {
    return this.#using([], (dataSource) => readCatalog(dataSource));
  }

  /** The only migration of a level: for calls of its `up` and `down` by hand, past the history. */
  static at(level: number): MigrationInterface {
    const Migration = migrations[level - 1];
    if (!Migration) throw new Error(`There is no migration ${level}.`);
    return new Migration();
  }

  async #using<T>(chain: typeof migrations, use: (dataSource: PaymentEventsDataSource) => Promise<T>): Promise<T> {
    const dataSource = await new PaymentEventsDataSource({
      ...createDataSourceOptions({ url: this.#database.url }),
      logger: undefined,
      logging: false,
      migrations: chain,
    }).initialize();
    try {
      return await use(dataSource);
    } finally {
      await dataSource.destroy();
    }
  }
}
