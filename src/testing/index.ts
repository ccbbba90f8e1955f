export { deadLetter, deliverDue, type TestDeadLetter } from './deliver-due';
export { EmbeddedServer, type EmbeddedServerOptions, UNSAFE_BUT_FAST } from './embedded-server';
export {
  BinariesError,
  DataDirectoryError,
  DataDirectoryInUseError,
  MessageNotPublishedError,
  PortTakenError,
  ServerProcessError,
  TemplateError,
} from './errors';
export { holdIn } from './hold-in';
export { POSTGRES_VERSIONS, type PostgresVersion } from './postgres-binaries';
export {
  type AwaitedMessage,
  RecordingPublisher,
  type Refusal,
  type WaitForMessageOptions,
} from './recording-publisher';
export { requestIn, type RequestOptions, requestToRetry, type RetryOptions, type TestRequest } from './request-in';
export { TemporaryDirectory } from './temporary-directory';
export {
  createTemplateDatabase,
  createTestDatabase,
  type CreateTestDatabaseOptions,
  databaseUrl,
  dropTestDatabases,
  listTestDatabases,
  type TemplateOptions,
  type TestDatabase,
} from './test-database';
export { currentTestRun, type StartedTestRun, startTestRun, type TestRun } from './test-run';
export { startTestServer, type TestServer } from './test-server';
export { FileDatabase, type RegisterHook, useTestDatabase, type UseTestDatabaseOptions } from './use-test-database';
