import { AuthHold } from './auth-hold.entity';
import { AuthIdempotencyKey } from './auth-idempotency-key.entity';
import { AuthProcessingLock } from './auth-processing-lock.entity';
import { AuthRequestState } from './auth-request-state.entity';
import { OutboxMessage } from './outbox-message.entity';
import { PaymentEvent } from './payment-event.entity';
import { RestaurantPaymentConfig } from './restaurant-payment-config.entity';

export {
  AuthHold,
  AuthIdempotencyKey,
  AuthProcessingLock,
  AuthRequestState,
  OutboxMessage,
  PaymentEvent,
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
];
