import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { createTestDatabase, startTestServer } from '../../src/testing';

/** Hands over a new database with every migration run, on a test server of its own. */
export async function withMigratedDatabase(use: (dataSource: PaymentEventsDataSource) => Promise<void>): Promise<void> {
  const server = await startTestServer();
  try {
    const database = await createTestDatabase(server.url);
    const dataSource = new PaymentEventsDataSource(createDataSourceOptions({ url: database.url }));
    await dataSource.initialize();
    try {
      await dataSource.runMigrations();
      await use(dataSource);
    } finally {
      await dataSource.destroy();
    }
    await database.drop();
  } finally {
    await server.stop();
  }
}
