import { AbstractLogger, type MigrationInterface, type QueryRunner } from 'typeorm';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';
import { migrations } from '../../../src/migrations';
import { type Queryable } from '../../../src/database/queryable';
import { readCatalog } from '../../../src/schema/catalog';
import { OBJECTS } from '../../../src/schema/objects';

/** How many migrations make the schema of the last Alembic revision. */
export const LEGACY_LEVEL = 2;
/** Legacy clients keep working until more migrations than these have run. */
export const EXPANDED_LEVEL = 4;
export const LATEST_LEVEL = migrations.length;

/** The level right after a migration, by its class name without the timestamp. Level n: the first n have run. */
export function levelOf(name: string): number {
  const index = migrations.findIndex((migration) => migration.name.replace(/\d+$/, '') === name);
  if (index < 0) throw new Error(`There is no migration ${name}.`);
  return index + 1;
}

/** Rows as JSON, by table. */
export type Rows = Record<string, unknown>;

/** Every value of every row, of the tables that are there. */
export async function readRows(database: Queryable): Promise<Rows> {
  const rows: Rows = {};
  const there = (await database.query(`SELECT relname FROM pg_class WHERE oid = ANY (
    SELECT to_regclass(name) FROM unnest('{${TABLES.join(',')}}'::text[]) AS name)`)) as { relname: string }[];
  for (const table of TABLES.filter((name) => there.some(({ relname }) => relname === name))) {
    rows[table] = await database.query(`SELECT to_jsonb(t) AS row FROM ${table} AS t ORDER BY to_jsonb(t)::text`);
  }
  return rows;
}

/** Walks a database up and down the chain, one session a walk. */
export class MigrationChain {
  constructor(private readonly database: { url: string }) {}

  /** Runs what is pending up to a level, as `migration:run` of a package with so many migrations does. */
  upTo(level: number): Promise<void> {
    return this.#using(migrations.slice(0, level), async (dataSource) => {
      await dataSource.runMigrations();
    });
  }

  /** Reverts down to a level, as so many calls of `migration:revert` do. */
  downTo(level: number): Promise<void> {
    return this.#using(migrations, async (dataSource) => {
      while ((await dataSource.query<unknown[]>(HISTORY)).length > level) await dataSource.undoLastMigration();
    });
  }

  catalog(): Promise<string> {
    return this.#using([], (dataSource) => readCatalog(dataSource));
  }

  rows(): Promise<Rows> {
    return this.#using([], (dataSource) => readRows(dataSource));
  }

  /** Hands over a migration and a session to call it with, past the history. */
  byHand<T>(level: number, use: (migration: MigrationInterface, queryRunner: QueryRunner) => Promise<T>): Promise<T> {
    return this.#using([], async (dataSource) => {
      const Migration = migrations[level - 1];
      if (!Migration) throw new Error(`There is no level ${level}.`);
      const queryRunner = dataSource.createQueryRunner();
      try {
        return await use(new Migration(), queryRunner);
      } finally {
        await queryRunner.release();
      }
    });
  }

  async #using<T>(chain: typeof migrations, use: (dataSource: PaymentEventsDataSource) => Promise<T>): Promise<T> {
    const dataSource = new PaymentEventsDataSource({
      ...createDataSourceOptions({ url: this.database.url, logger: new Silence() }),
      migrations: chain,
      entities: [],
    });
    await dataSource.initialize();
    try {
      return await use(dataSource);
    } finally {
      await dataSource.destroy();
    }
  }
}

/** The tests make migrations fail on purpose. */
class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

const HISTORY = 'SELECT FROM payment_events_db_migrations';

const TABLES = OBJECTS.tables;
