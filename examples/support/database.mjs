import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import {
  createDataSourceOptions,
  DevelopmentSeeder,
  grantPrivileges,
  PaymentEventsDataSource,
  RedactingLogger,
} from 'payment-events-db';
import { EmbeddedServer, TemporaryDirectory } from 'payment-events-db/testing';

/** What each service's login is a member of: what its operations need, and no more. */
const ROLES = {
  authorization_api: ['payment_events_api'],
  auth_processor_worker: ['payment_events_worker', 'payment_events_relay', 'payment_events_sweeper'],
};

/** Which migrations run is no news here, and what fails is thrown. */
const QUIET = new RedactingLogger({ log: () => undefined, warn: console.warn, error: () => undefined });

/**
 * A PostgreSQL of its own, migrated and seeded, with a login for each service. It is gone when this process ends.
 *
 * @returns the URL for each service, and how to stop it
 */
export async function startDatabase() {
  const folder = new TemporaryDirectory();
  const server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
  const options = createDataSourceOptions({ url: server.url, logger: QUIET });
  const dataSource = await new PaymentEventsDataSource(options).initialize();
  const urls = {};
  try {
    await dataSource.runMigrations();
    await new DevelopmentSeeder().run(dataSource);
    await grantPrivileges(dataSource);
    for (const [login, roles] of Object.entries(ROLES)) {
      const password = randomBytes(12).toString('hex');
      await dataSource.query(`CREATE ROLE ${login} LOGIN PASSWORD '${password}' IN ROLE ${roles.join(', ')}`);
      urls[login] = Object.assign(new URL(server.url), { username: login, password }).href;
    }
  } finally {
    await dataSource.destroy();
  }
  return { urls, stop: () => folder.remove() };
}
