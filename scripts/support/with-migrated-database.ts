import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { migrations } from '../../src/migrations';
import { createTestDatabase, startTestServer } from '../../src/testing';

/** Hands over the URL of a new database, on a test server of its own. */
export async function withTestDatabase<T>(use: (url: string) => Promise<T>): Promise<T> {
  const server = await startTestServer();
  try {
    const database = await createTestDatabase(server.url);
    const result = await use(database.url);
    await database.drop();
    return result;
  } finally {
    await server.stop();
  }
}

/** Runs the first of the migrations in a database, and hands it over. @param level how many: default all */
export async function migrated<T>(
  url: string,
  use: (dataSource: PaymentEventsDataSource) => Promise<T>,
  level = migrations.length,
): Promise<T> {
  const dataSource = new PaymentEventsDataSource({
    ...createDataSourceOptions({ url }),
    migrations: migrations.slice(0, level),
  });
  await dataSource.initialize();
  try {
    await dataSource.runMigrations();
    return await use(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

/** Hands over a new database with every migration run, on a test server of its own. */
export const withMigratedDatabase = <T>(use: (dataSource: PaymentEventsDataSource) => Promise<T>): Promise<T> =>
  withTestDatabase((url) => migrated(url, use));
