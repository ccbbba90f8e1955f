export { type Config, DEFAULT_DATABASE_URL, readConfig } from './config';
export {
  createDataSourceOptions,
  MIGRATIONS_TABLE,
  PaymentEventsDataSource,
  type PaymentEventsDataSourceSettings,
  type PostgresOptions,
} from './data-source';

export { entities } from './entities';
export { AuthIdempotencyKey } from './entities/auth-idempotency-key.entity';
export { AuthProcessingLock } from './entities/auth-processing-lock.entity';
export { AUTH_REQUEST_STATUSES, AuthRequestState, type AuthRequestStatus } from './entities/auth-request-state.entity';
export { OutboxMessage } from './entities/outbox-message.entity';
export { PaymentEvent } from './entities/payment-event.entity';
export { type Processor, PROCESSORS, RestaurantPaymentConfig } from './entities/restaurant-payment-config.entity';

export {
  ConfigurationError,
  PaymentEventsDbError,
  UndecodableEventError,
  UndecodableOutboxMessageError,
  UnencodableMessageError,
  UnknownEventTypeError,
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
} from './event-store/outbox-messages';
export { type AuthStatusName } from './event-store/plain-message';

export { migrations } from './migrations';
export { RedactingLogger } from './redacting-logger';
export { DEVELOPMENT_RESTAURANT_ID, DevelopmentOnlyError, DevelopmentSeeder, type SeedOptions } from './seeds';
