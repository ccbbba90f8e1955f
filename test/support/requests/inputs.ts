import { readFileSync } from 'node:fs';
import { getMetadataStorage } from 'class-validator';
import { entities } from '../../../src/entities';
import { rulesOf } from '../../../src/validation/keeps-rules';
import '../../../src';
import '../../../src/nest';
import '../../../src/configs/aws-kms-key-provider';
import '../../../src/configs/read-config';
import '../../../src/configs/sealed-secrets';
import '../../../src/publishers/amqp/amqp-publisher';
import '../../../src/publishers/sqs/sqs-publisher';
import '../../../src/testing';
import { CERTIFICATE } from '../database/tls-server';

/** A class with rules that what a caller hands in is checked against. */
export type InputClass = new () => object;

const id = '0199f1e2-7e1c-7000-8000-000000000001';
const ref = { restaurantId: id, authRequestId: id };
const traced = { correlationId: 'c', causationId: 'd', headers: { a: 'b' } };
const serverUrl = 'postgresql://localhost/d';
const nothing = () => undefined;
const keys = { generateDataKey: nothing, unwrap: nothing, rewrap: nothing };
const hold = { processorName: 'stripe', processorAuthId: 'pi' };
const leased = { ...ref, workerId: 'w', ttlMs: 5_000, longestMs: 1, retryBy: 'broker', ...traced };
const reporting = { url: serverUrl, rolePrefix: 'a', dataSource: { schema: 's' }, say: nothing };
const requestOptions = {
  ...{ restaurantId: id, amountCents: 1050, currency: 'EUR', paymentToken: 't', idempotencyKey: 'k' },
  ...{ configVersion: 'v1', ...hold },
};

/** One of each, with all that it may have. */
const EXAMPLES: Record<string, Record<string, unknown>> = {
  AcquireCommand: { ...ref, workerId: 'w', ttlMs: 5_000, fencingToken: 1n },
  AdoptOptions: { legacyTimeZone: 'UTC', dryRun: true, say: nothing },
  AmqpPublisherOptions: { url: 'amqp://localhost', exchange: '', routingKey: nothing, socketOptions: {} },
  AnswerToAttempt: { outcome: 'denied' },
  AnswerToVoid: { outcome: 'voided' },
  AppendCommand: { ...ref, expectedSequence: 0, events: [{ type: 'AuthRequestExpired', data: {}, eventId: id }] },
  AppendOptions: { metadata: { correlationId: 'c' } },
  AttemptCommand: { ...leased, configVersion: 'v1', besideUnanswered: true, settleWithinMs: 0 },
  AttemptVoidCommand: { ...leased, ...hold },
  AuthorizeCommand: {
    ...{ restaurantId: id, paymentToken: 't', amountCents: 1050, currency: 'EUR', idempotencyKey: 'k' },
    ...{ metadata: { a: [1, null, { b: 'c' }] }, ...traced },
  },
  AuthorizedCommand: {
    ...{ processorName: 'stripe', processorAuthId: 'pi', authorizedAmountCents: 1050, currency: 'EUR' },
    ...{
      attempt: 2,
      authorizationCode: 'A1',
      authorizedAt: new Date(),
      holdExpiresAt: new Date(),
      processorMetadata: { a: 'b' },
      ...traced,
    },
  },
  AwsKmsKeyProviderOptions: { client: { send: nothing }, keyId: 'alias/k', timeoutMs: 1 },
  ClaimCommand: { ...ref, idempotencyKey: 'k', operation: 'refund', request: {}, outcome: 'x' },
  CloseUnansweredCommand: { ...ref, configVersion: 'v1', by: 'jo', reason: 'a test', ...traced },
  ConfigChange: { by: 'jo', expectedVersion: 'v1' },
  ConfigContent: { processorName: 'stripe', settings: { a: 1 }, secrets: { api_key: 'k' } },
  ConfigVersionRef: { restaurantId: id, configVersion: 'v1' },
  CreateTestDatabaseOptions: { template: 't', prefix: 'p' },
  DatabaseRef: { serverUrl, name: 'd' },
  DeniedCommand: {
    ...{
      processorName: 'stripe',
      denialCode: 'x',
      denialReason: 'y',
      processorMetadata: { a: 'b' },
      attempt: 2,
      ...traced,
    },
  },
  DiscardCommand: { by: 'jo', reason: 'a test' },
  DriftOptions: { rolePrefix: 'a', ignorePrivileges: false, shard: { modulus: 2, remainder: 1, number: 3 } },
  DropReportingSettings: { ...reporting, viewsOnly: false },
  EmbeddedServerOptions: {
    ...{ dataDirectory: '/d', port: 0, password: 'p', version: 18, settings: { fsync: 'off' }, notice: nothing },
  },
  EnqueueCommand: {
    ...{ aggregateId: id, restaurantId: id, messageType: 'm', payload: Buffer.of(1) },
    ...{ headers: { a: 'b' }, lockAggregate: true },
  },
  ExpireCommand: { ...ref, reason: '', ...traced },
  ExpireStaleCommand: { olderThanMs: 1, withinMs: 2, batchSize: 1, reason: '', ...traced },
  FailNextOptions: { count: 1 },
  FailureCommand: {
    ...{
      errorCode: 'E',
      errorMessage: '',
      retryable: true,
      nextRetryAt: new Date(),
      retryBy: 'broker',
      outcome: 'unknown',
      attempt: 2,
      ...traced,
    },
  },
  FindCommand: { olderThanMs: 1, withinMs: 2, limit: 1, after: `0_0_${id}` },
  FindUnsettledCommand: { olderThanMs: 1, withinMs: 2, limit: 1, after: `0_0_${id}`, settleWithinMs: 0 },
  GrantOptions: { rolePrefix: 'a', say: nothing },
  HoldFilter: { states: ['held'], forAPerson: false, olderThanMs: 1, lapsingWithinMs: 1, restaurantId: id },
  HistoryOptions: { limit: 1 },
  HoldOptions: { longestMs: 1 },
  InspectCommand: { authRequestId: id },
  HoldCommand: { ...ref, ...hold, ...traced },
  HoldStatsCommand: { lapsingWithinMs: 1 },
  HoldsHealthOptions: { maxOpenAgeMs: 0, maxForAPerson: 0 },
  IterateOptions: { from: 1, batchSize: 1 },
  KeepOptions: { minutes: 1 },
  Lease: { ...ref, workerId: 'w', fencingToken: 1n, expiresAt: new Date() },
  LeasedCommand: leased,
  ListCommand: { restaurantId: id, limit: 1, after: `0_${id}` },
  ListHoldsCommand: {
    ...{
      states: ['held', 'captured'],
      forAPerson: true,
      olderThanMs: 1,
      lapsingWithinMs: 1,
      restaurantId: id,
      limit: 1,
      after: `0_0_${id}_7374_7069`,
    },
  },
  ListFailedOptions: { limit: 1, after: 1n },
  MessageRef: { id: 1n },
  MigrateOptions: { to: 'x', transaction: 'each', fake: false, say: nothing },
  ModuleRelayOptions: {
    ...{ batchSize: 1, pollIntervalMs: 1, publishTimeoutMs: 1, maxAttempts: 1, retryDelayMs: 1, maxRetryDelayMs: 1 },
    ...{ maxReconnectDelayMs: 1, hooks: { failed: nothing }, signal: new AbortController().signal },
    publishers: { publish: nothing },
  },
  Observed: { outbox: { stats: nothing } },
  ObservedHolds: { holds: { stats: nothing } },
  OutboxHealthOptions: { maxAgeMs: 0, maxFailed: 0 },
  PaymentConfigsOptions: { keys, cacheTtlMs: 0 },
  PaymentEventsDataSourceSettings: {
    ...{ url: serverUrl, host: 'h', port: 1, database: 'd', user: 'u', password: 'p', ssl: false },
    ...{ schema: 's', applicationName: 'a', poolSize: 1, connectTimeoutMs: 1, statementTimeoutMs: 0 },
    ...{ lockTimeoutMs: 0, idleInTransactionTimeoutMs: 0, timeoutsVia: 'role', preparedStatements: 'named' },
    ...{ migrationWaitMs: 0, migrationLockBudgetMs: 0, migrationHoldLifeDays: 0, logger: 'debug' },
    ...{ coalescedStatements: 0, cardNumbers: 'mask' },
  },
  PaymentEventsDbModuleOptions: {
    ...{
      dataSource: { url: serverUrl },
      relay: {},
      sweeper: {},
      configs: { keys },
      connectAttempts: 1,
      connectRetryDelayMs: 0,
    },
  },
  PlanOptions: { to: 'x', direction: 'up' },
  PrefixRef: { serverUrl, prefix: 'p' },
  ProcessorIdCommand: { processorAuthId: 'pi' },
  PurgeKeysOptions: { batchSize: 1 },
  PurgeLocksOptions: { batchSize: 1 },
  PurgeMessagesOptions: { olderThanMs: 0, batchSize: 1, onBatch: nothing },
  ReadStreamOptions: { from: 1, limit: 1 },
  RebuildCommand: { authRequestId: id },
  RelayOptions: {
    ...{ batchSize: 1, pollIntervalMs: 1, publishTimeoutMs: 1, maxAttempts: 1, retryDelayMs: 1, maxRetryDelayMs: 1 },
    ...{ maxReconnectDelayMs: 1, hooks: { failed: nothing }, signal: new AbortController().signal },
  },
  RecordCommand: { attempt: 2, ...traced },
  RecordEndCommand: { ...ref, ...hold, end: 'voided', amountCents: 1, by: 'jo', reason: 'a test', ...traced },
  ReportHoldCommand: {
    ...{ ...ref, ...hold, told: 'captured', source: 'stripe', sourceEventId: 'evt', amountCents: 1, currency: 'EUR' },
    ...{ at: new Date(), holdExpiresAt: new Date(), ...traced },
  },
  ReplicaGetOptions: { atLeast: 1 },
  ReplicaListOptions: { atLeast: [{ authRequestId: id, lastEventSequence: 1 }] },
  ReplicaReadsOptions: { pollMs: 1, withinMs: 1 },
  ReportingPlace: reporting,
  ReportingSettings: { ...reporting, reader: 'r', readerPassword: 'p' },
  RequestOptions: requestOptions,
  RequestRef: ref,
  RequeueVoidCommand: { ...ref, ...hold, by: 'jo', reason: 'a test', ...traced },
  RestaurantRef: { restaurantId: id },
  RetryOptions: { ...requestOptions, retryInMs: 0 },
  RotateOptions: { batchSize: 1, onProgress: nothing },
  SealCommand: {
    ...{ dataKeyId: id, restaurantId: id, configVersion: 'v1', processorName: 'stripe' },
    ...{ settings: { a: [1, null] }, secrets: { b: 'c' } },
  },
  SealOptions: { batchSize: 1, onProgress: nothing },
  SeedOptions: { force: true },
  ServerRef: { serverUrl },
  SqsPublisherOptions: {
    ...{ client: { send: nothing }, queues: { m: 'https://sqs.example.com/1/q' } },
    ...{ maxBytes: 1, deduplicationId: nothing },
  },
  ShardsModuleOptions: {
    shards: { load: nothing },
    dataSource: { poolSize: 1 },
    relay: {},
    sweeper: {},
    configs: { keys },
  },
  ShardsOptions: { reloadEveryMs: 0, onReloadFailed: nothing, configs: { keys } },
  StampOptions: { dryRun: true, say: nothing },
  StartAttemptCommand: { configVersion: 'v1', besideUnanswered: true, settleWithinMs: 0, eventId: id, ...traced },
  StopOptions: { mode: 'fast' },
  StreamRef: ref,
  TlsSettings: {
    ca: readFileSync(CERTIFICATE, 'utf8'),
    caFile: CERTIFICATE,
    certFile: CERTIFICATE,
    keyFile: CERTIFICATE,
  },
  ToVoidCommand: hold,
  SweeperOptions: {
    ...{ voidingIntervalMs: 0, stuckIntervalMs: 0, unsettledIntervalMs: 0, listingIntervalMs: 0, expiryIntervalMs: 0 },
    ...{ keysIntervalMs: 0, leasesIntervalMs: 0, messagesIntervalMs: 0, voidingAfterMs: 1, stuckAfterMs: 1 },
    ...{ unsettledAfterMs: 1, maxDelayMs: 1, maxSweeps: 1, batchSize: 1, perMinute: 1, outboxLateMs: 1, withinMs: 2 },
    ...{ settleWithinMs: 0, lapsingWithinMs: 0, expireAfterMs: 1, purgeMessagesAfterMs: 0, leaseTtlMs: 100 },
    ...{ maxReconnectDelayMs: 1, hooks: { gaveUp: nothing }, signal: new AbortController().signal },
  },
  SweepOptions: { dryRun: true },
  TemplateOptions: { prepare: nothing },
  TracedCommand: traced,
  UseTestDatabaseOptions: { beforeAll: nothing, afterAll: nothing, empty: true },
  VerificationScope: ref,
  VoidCommand: { ...ref, idempotencyKey: 'k', reason: '', ...traced },
  VoidedCommand: { ...hold, ...traced },
  VoidFailureCommand: {
    ...{ ...hold, errorCode: 'E', errorMessage: '', retryable: true, nextRetryAt: new Date(), retryBy: 'broker' },
    ...traced,
  },
  VoidWriteCommand: { ...hold, ...traced },
  WaitForMessageOptions: { authRequestId: id, timeoutMs: 0 },
  WaitOptions: { timeoutMs: 1, signal: new AbortController().signal },
  Work: { work: nothing },
};

/**
 * Every class of the package with rules, entities aside: class-validator knows them all, and those that Jest's environment
 * has loaded for itself, in another realm.
 */
export function inputClasses(): InputClass[] {
  const storage = getMetadataStorage() as unknown as { validationMetadatas: Map<InputClass, unknown> };
  return [...storage.validationMetadatas.keys()].filter(
    (Class) => Class instanceof Function && !(entities as unknown[]).includes(Class),
  );
}

/** An example of a class, with everything that it may have. */
export function exampleOf(Class: InputClass): Record<string, unknown> {
  const example = EXAMPLES[Class.name];
  if (!example) throw new Error(`${Class.name} has rules: add an example of it to test/support/requests/inputs.ts`);
  return example;
}

/** The properties that may be left out. */
export function optionalProperties(Class: InputClass): string[] {
  const optional = rulesOf(Class).filter(({ conditions }) => conditions.some((holds) => !holds({}, null)));
  return optional.map(({ property }) => property);
}

/** The numbers that may be handed in, with the bounds of their rules. */
export function numbersOf(Class: InputClass): { property: string; min: number; max: number }[] {
  const rules = getMetadataStorage().getTargetValidationMetadatas(Class, '', false, false);
  return rules
    .filter(({ name }) => name === 'wholeNumber')
    .map(({ propertyName: property, constraints }) => {
      const [min, max] = constraints as [number, number];
      return { property, min, max };
    });
}
