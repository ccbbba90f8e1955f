export { IdempotencyKey } from './idempotency-key.decorator';
export {
  type ModulePlacement,
  ModuleRelayOptions,
  type PaymentEventsDbModuleAsyncOptions,
  PaymentEventsDbModuleOptions,
  type ShardsModuleAsyncOptions,
  ShardsModuleOptions,
} from './module-options';
export {
  type HealthResult,
  HoldsHealthOptions,
  OutboxHealthOptions,
  PaymentEventsDbHealth,
} from './payment-events-db.health';
export { PaymentEventsDbModule } from './payment-events-db.module';
export { type ShardHealth, ShardsHealth, type ShardsHealthResult } from './shards.health';
export { ProblemDetailsFilter } from './problem-details.filter';
