import { AuthRequests } from '../auth-requests/auth-requests';
import { Holds } from '../auth-requests/holds/holds';
import { type RestaurantPaymentConfigs } from '../configs/restaurant-payment-configs';
import { type PaymentEventsDataSource } from '../data-source';
import { EventStore } from '../event-store/event-store';
import { type ResidueClass } from '../fence/residue';
import { IdempotencyKeys } from '../idempotency/idempotency-keys';
import { ProcessingLocks } from '../locks/processing-locks';
import { Outbox } from '../outbox/outbox';
import { ReadModel } from '../read-model/read-model';
import { type OpenDatabase } from './shard-database';
import { type ShardEntry } from './shard-map';

/** One database of the map, open, with every class of operations: the same as of a database that is alone. */
export interface Shard {
  readonly name: string;
  /** The restaurants that the map gives it. */
  readonly class: ResidueClass;
  /** For transactions and repositories of yours. `Shards` closes it. */
  readonly dataSource: PaymentEventsDataSource;
  readonly requests: AuthRequests;
  readonly holds: Holds;
  readonly locks: ProcessingLocks;
  readonly outbox: Outbox;
  readonly keys: IdempotencyKeys;
  readonly store: EventStore;
  readonly readModel: ReadModel;
  /** Undefined where `Shards` was given no keys: see the option `configs`. */
  readonly configs: RestaurantPaymentConfigs | undefined;
}

export const shardOf = ({ name, modulus, remainder }: ShardEntry, { dataSource, configs }: OpenDatabase): Shard =>
  Object.freeze({
    name,
    class: Object.freeze({ modulus, remainder }),
    dataSource,
    requests: new AuthRequests(dataSource),
    holds: new Holds(dataSource),
    locks: new ProcessingLocks(dataSource),
    outbox: new Outbox(dataSource),
    keys: new IdempotencyKeys(dataSource),
    store: new EventStore(dataSource),
    readModel: new ReadModel(dataSource),
    configs,
  });
