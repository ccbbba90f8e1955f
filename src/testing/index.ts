export { EmbeddedServer, type EmbeddedServerOptions, UNSAFE_BUT_FAST } from './embedded-server';
export {
  BinariesError,
  DataDirectoryError,
  DataDirectoryInUseError,
  PortTakenError,
  ServerProcessError,
} from './errors';
export { POSTGRES_VERSIONS, type PostgresVersion } from './postgres-binaries';
export { TemporaryDirectory } from './temporary-directory';
export {
  createTemplateDatabase,
  createTestDatabase,
  type CreateTestDatabaseOptions,
  databaseUrl,
  dropTestDatabases,
  listTestDatabases,
  type TestDatabase,
} from './test-database';
export { startTestServer, type TestServer } from './test-server';
