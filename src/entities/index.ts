import { AuthHold } from './auth-hold.entity';
import { AuthIdempotencyKey } from './auth-idempotency-key.entity';
import { AuthProcessingLock } from './auth-processing-lock.entity';
import { AuthRequestState } from './auth-request-state.entity';
import { DataKey } from './data-key.entity';
import { OutboxMessage } from './outbox-message.entity';
import { PaymentEvent } from './payment-event.entity';
import { PaymentProcessor } from './payment-processor.entity';
import { RestaurantPaymentConfig } from './restaurant-payment-config.entity';

export {
  AuthHold,
  AuthIdempotencyKey,
  AuthProcessingLock,
  AuthRequestState,
  DataKey,
  OutboxMessage,
  PaymentEvent,
  PaymentProcessor,
  RestaurantPaymentConfig,
};

/** Every entity of this database, in the form `DataSource` wants. */
export const entities = [
  PaymentEvent,
  AuthRequestState,
  OutboxMessage,
  AuthIdempotencyKey,
  RestaurantPaymentConfig,
  AuthProcessingLock,
  AuthHold,
  PaymentProcessor,
  DataKey,
];
