export { IdempotencyKey } from './idempotency-key.decorator';
export {
  type ModulePlacement,
  ModuleRelayOptions,
  type PaymentEventsDbModuleAsyncOptions,
  PaymentEventsDbModuleOptions,
} from './module-options';
export {
  type HealthResult,
  HoldsHealthOptions,
  OutboxHealthOptions,
  PaymentEventsDbHealth,
} from './payment-events-db.health';
export { PaymentEventsDbModule } from './payment-events-db.module';
export { ProblemDetailsFilter } from './problem-details.filter';
