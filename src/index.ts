export { type AskProcessor, AttemptCommand, type AttemptResult, type ProcessorAnswer } from './auth-requests/attempt';
export { AuthRequests } from './auth-requests/auth-requests';
export { type AuthorizeReceipt } from './auth-requests/authorize';
export { AuthorizeCommand } from './auth-requests/authorize';
export { AuthorizedCommand } from './auth-requests/record-authorized';
export { CloseUnansweredCommand } from './auth-requests/close-unanswered';
export { DeniedCommand } from './auth-requests/record-denied';
export { ExpireCommand } from './auth-requests/expire';
export { ExpireStaleCommand } from './auth-requests/expire-stale';
export { FailureCommand } from './auth-requests/record-failure';
export { FindCommand, FindUnsettledCommand } from './auth-requests/find-requests';
export { ListCommand, RequestRef } from './auth-requests/queries';
export { StartAttemptCommand } from './auth-requests/start-attempt';
export { VoidCommand } from './auth-requests/request-void';
export { type ClosedAttempts } from './auth-requests/close-unanswered';
export { type AuthRequest } from './auth-requests/auth-request';
export { type AuthRequestPage } from './auth-requests/queries';
export { type FoundRequest, type UnsettledRequest } from './auth-requests/find-requests';
export { type RecordedResult } from './auth-requests/recorded-result';
export { type RecordedFailure } from './auth-requests/record-failure';
export { type VoidOutcome, type VoidReceipt } from './auth-requests/request-void';
export { type Attempt, type BegunAttempt, type NothingToDo } from './auth-requests/start-attempt';
export { type AwaitedRequest, WaitOptions } from './auth-requests/wait-for-result';

export {
  ReplicaGetOptions,
  ReplicaListOptions,
  type ReplicaPage,
  ReplicaReads,
  ReplicaReadsOptions,
  type ReplicaRequest,
} from './replica-reads/replica-reads';
export { type SeenRequest } from './replica-reads/seen-request';
export { type ReadFrom } from './replica-reads/telemetry';

export { type Hold } from './auth-requests/holds/hold';
export { HoldFilter, ListHoldsCommand, type StandingHold } from './auth-requests/holds/list-holds';
export { observeHolds } from './auth-requests/holds/observe-holds';
export { type HoldReason, type PersonsReason, type StandingState } from './auth-requests/holds/standing';
export { type HoldStats, HoldStatsCommand, type HoldTotal, type HoldTotals } from './auth-requests/holds/total-holds';

export { type ActivatedConfig, ConfigChange, ConfigContent } from './configs/activate';
export { type DeactivatedConfig } from './configs/deactivate';
export {
  ConfigConflictError,
  ConfigNotFoundError,
  KeyMissingError,
  KeyRefusedError,
  type KeyRefusedReason,
  KeyUnavailableError,
  SecretsUnreadableError,
} from './configs/errors';
export { type ConfigRecord, type HistoryOptions } from './configs/history';
export { type KeyProvider, type WrappedKey } from './configs/key-provider';
export { activateKey, addKey, newKeyring } from './configs/keyring-file';
export { readKeyring } from './configs/local-keyring';
export { type PaymentConfigsOptions, RestaurantPaymentConfigs } from './configs/restaurant-payment-configs';
export { type RotateOptions, type Rotated, rotateDataKeys } from './configs/rotate-data-keys';
export { type Sealed, type SealOptions, sealPlainSecrets } from './configs/seal-plain-secrets';
export { Secret } from './configs/secret';
export { type SecretsStatus, secretsStatus } from './configs/secrets-status';
export { type PaymentConfig } from './configs/stored-config';

export { type Config, DEFAULT_DATABASE_URL, readConfig } from './config';
export { type PaymentEventsDataSourceSettings, type PostgresOptions } from './connection/data-source-settings';
export { type TlsSettings } from './connection/tls-settings';
export { createDataSourceOptions, PaymentEventsDataSource } from './data-source';

export * from './entities';
export {
  AttemptVoidCommand,
  type AttemptVoidResult,
  type VoidAnswer,
  type VoidAtProcessor,
} from './auth-requests/holds/attempt-void';
export { Holds } from './auth-requests/holds/holds';
export { RecordEndCommand } from './auth-requests/holds/record-end';
export { type RecordedVoidFailure, VoidFailureCommand } from './auth-requests/holds/record-void-failure';
export { type RecordedVoid, VoidedCommand } from './auth-requests/holds/record-voided';
export { type ReportedHold, ReportHoldCommand } from './auth-requests/holds/report-hold';
export { type RequeuedVoid, RequeueVoidCommand } from './auth-requests/holds/requeue-void';
export { HOLD_ENDS, HOLD_STATES, type HoldEndState, type HoldState } from './auth-requests/holds/states';
export { type HoldToVoid, type NothingToVoid, ToVoidCommand, type Voiding } from './auth-requests/holds/to-void';
export { AUTH_REQUEST_STATUSES, type AuthRequestStatus } from './auth-requests/statuses';
export { BUILT_IN_PROCESSORS } from './configs/processors';
export { type ChaseSecrets, type ChaseSettings } from './configs/processors/chase';
export { type MockSecrets, type MockSettings } from './configs/processors/mock';
export { type ProcessorDefinition, type SettingsSchema } from './configs/processors/processor';
export { type StripeSecrets, type StripeSettings } from './configs/processors/stripe';
export { type WorldpaySecrets, type WorldpaySettings } from './configs/processors/worldpay';

export {
  AmbiguousHoldError,
  AuthRequestNotFoundError,
  AuthRequestStatusError,
  AuthorizationConflictError,
  AuthorizationMismatchError,
  CannotCreateError,
  ConcurrencyConflictError,
  ConfigurationError,
  ConstraintViolationError,
  DatabaseError,
  DatabaseTimeoutError,
  DatabaseUnavailableError,
  DataSourceNotOpenError,
  EventIdConflictError,
  HoldNotFoundError,
  HoldStateError,
  IdempotencyKeyReuseError,
  InvalidCommandError,
  LockHeldError,
  LockLostError,
  LockTimeoutError,
  NotVoidableError,
  OutboxMessageNotFoundError,
  OutcomeUnknownError,
  OverloadedError,
  PaymentEventsDbError,
  PermissionDeniedError,
  StalePlanError,
  TransactionAbortedError,
  TransactionConflictError,
  TransactionRequiredError,
  UndecodableEventError,
  UndecodableOutboxMessageError,
  UnencodableMessageError,
  UnknownEventTypeError,
  WrongSchemaError,
  WrongShardError,
} from './errors';

export {
  decodeEvent,
  encodeEvent,
  isPaymentEventType,
  type PaymentEventBody,
  type PaymentEventType,
} from './event-store/event-codec';
export {
  decodeOutboxMessage,
  encodeOutboxMessage,
  isOutboxMessageType,
  type OutboxMessageBody,
  type OutboxMessageType,
} from './outbox/message-codec';
export { type AuthStatusName, type HoldEndName } from './protobuf/plain-message';

export {
  type AppendOptions,
  type IterateOptions,
  type ReadStreamOptions,
  StreamRef,
} from './event-store/append-command';
export { type EventMetadata } from './event-store/event-metadata';
export { type AppendedEvent, EventStore, type NewEvent, type StoredEvent } from './event-store/event-store';

export { readFence } from './fence/read-fence';
export { type ResidueClass } from './fence/residue';
export { removeFence, setFence, type SetFenceOptions } from './fence/set-fence';

export { GrantsRefusedError } from './grants/errors';
export { type GrantedRole, type GrantOptions, grantPrivileges } from './grants/grant-privileges';

export { type Claim, ClaimCommand, IdempotencyKeys, type PurgeKeysOptions } from './idempotency/idempotency-keys';
export { findByProcessorId, type ProcessorIdMatch } from './inspection/find-by-processor-id';
export { inspectRequest } from './inspection/inspect-request';
export {
  type InspectedEvent,
  type InspectedHold,
  type InspectedKey,
  type InspectedLease,
  type InspectedMessage,
  type Inspection,
  type MessageState,
  type NotShown,
} from './inspection/inspection';
export {
  AcquireCommand,
  HoldOptions,
  type Lease,
  newFencingToken,
  ProcessingLocks,
  type PurgeLocksOptions,
} from './locks/processing-locks';

export { BrokerUnavailableError, type Publishers } from './outbox/delivery';
export { DiscardCommand, Outbox } from './outbox/outbox';
export { EnqueueCommand } from './outbox/enqueue';
export { type FailedMessage, type ListFailedOptions } from './outbox/list-failed';
export { type PurgeMessagesOptions } from './outbox/purge-processed';
export { OutboxRelay, type RelayOptions } from './outbox/outbox-relay';
export { type OutboxCount, type OutboxStats } from './outbox/outbox-stats';
export { type Publisher, type PublishOutcome, type RelayMessage } from './outbox/publisher';
export { type RelayHooks } from './outbox/relay-reporter';
export { type TurnResult } from './outbox/relay-turn';
export { observeOutbox } from './outbox/telemetry';

export { type AllHolds } from './shards/all-holds';
export { type AllOutboxes } from './shards/all-outboxes';
export { type AllShards, type Answers, type Each, type Merged, type Purged } from './shards/all-shards';
export { type Away, type Fanned } from './shards/fan-out';
export { type ShardMapDirectory, shardMapDirectory } from './shards/map-directory';
export { shardMapFile, shardMapFromEnvironment } from './shards/map-sources';
export { type MergedPage } from './shards/page';
export { type Place } from './shards/place';
export { type Shard } from './shards/shard';
export { readShardMap, type ShardEntry, type ShardMap, type ShardMapSource } from './shards/shard-map';
export { Shards } from './shards/shards';
export { ShardsOptions, type ShardsSettings } from './shards/shards-settings';
export { type AllVerifications } from './shards/verify-all';
export { type DroppedReporting, dropReporting, type DropReportingSettings } from './reporting/drop-reporting';
export { ReportingRefusedError } from './reporting/errors';
export { type RenewedReporting, type RenewedShard, renewReporting } from './reporting/renew-reporting';
export { type ReportingStatus, reportingStatus, type ShardReportingStatus } from './reporting/reporting-status';
export { type ReportingPlace, type ReportingSettings } from './reporting/settings';

export { Sweeper } from './sweeper/sweeper';
export { SweeperOptions, SweepOptions } from './sweeper/sweeper-options';
export { type SweeperHooks } from './sweeper/sweeper-reporter';
export {
  type GivenUpRequest,
  type GivenUpVoid,
  type HoldRef,
  type LapsingHold,
  type Listing,
  type Sending,
  type SentRequest,
  type SentVoid,
  type SweepResult,
  type VoidGivenUpReason,
} from './sweeper/sweep-result';

export { migrations } from './migrations';
export { adopt, type Adoption, type AdoptOptions, SchemaDriftError } from './migrator/adopt';
export {
  AlembicDatabaseError,
  type AlembicRevision,
  NotMadeByAlembicError,
  UnknownAlembicRevisionError,
} from './migrator/alembic';
export { type Session } from './migrator/blocking-sessions';
export { type Drift } from './schema/compare-catalogs';
export { type Obstacle } from './migrator/dependents';
export { type DriftOptions, findDrift } from './check/drift';
export {
  ChangedMigrationsError,
  HalfAppliedError,
  MigrationBlockedError,
  MigrationInProgressError,
  NoSuchMigrationError,
  ObjectsInTheWayError,
  PendingMigrationsError,
  SplitUnderWayError,
  TransactionModeError,
  UnknownMigrationsError,
} from './migrator/errors';
export { assertNonePending, type Begun, type MigrationRecord, readHistory } from './migrator/history';
export { ForeignMigrationsError } from './migrator/foreign-migrations';
export { type LegacyClock } from './migrator/legacy-clocks';
export { LegacyTimeZoneError } from './migrator/legacy-time-zone';
export { type Say } from './migrator/migration-lock';
export { migrate, type MigrateOptions, revert } from './migrator/migrator';
export { MigrationObstaclesError } from './migrator/obstacles';
export { type MigrationPlan, planMigrations, type PlannedMigration, type PlanOptions } from './migrator/plan';
export { stamp, type Stamp, type StampOptions } from './migrator/stamp';
export { type FieldDifference, type FieldValue } from './read-model/differences';
export { fold, type FoldableEvent, type FoldedRequest } from './read-model/fold';
export { type FoldedAttempts } from './read-model/fold-attempts';
export { type FoldedHold } from './read-model/fold-holds';
export { type UnfoldableReason, UnfoldableStreamError } from './read-model/fold-stream';
export { type HoldDifference, type HoldFieldDifference, type HoldRow } from './read-model/hold-differences';
export { type Rebuild } from './read-model/plan-rebuild';
export { ReadModel, RebuildNotAllowedError } from './read-model/read-model';
export { type HolderOfShared, type SharedHold } from './read-model/shared-holds';
export { type RequestDifference, type Verification, type VerificationScope } from './read-model/verification';
export { type Queryable } from './database/queryable';
export { RedactingLogger } from './database/redacting-logger';
export { DEVELOPMENT_RESTAURANT_ID, DevelopmentOnlyError, DevelopmentSeeder, type SeedOptions } from './seeds';
export { MIGRATIONS_TABLE } from './schema/objects';
export { SplitRefusedError } from './shards/split/errors';
export {
  ShardSplit,
  type ShardSplitSettings,
  type SplitStatus,
  type SplitStep,
  type SplitStepOptions,
} from './shards/split/shard-split';
export { splitMap } from './shards/split/split-map';
export { type SplitStatement } from './shards/split/split-session';
