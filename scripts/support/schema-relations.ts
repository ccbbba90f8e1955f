import { type TableName } from '../../src/schema/comments';

/** Rows of two tables that belong together by the same value. No foreign key says so. */
export interface Relation {
  readonly from: TableName;
  readonly columns: readonly string[];
  readonly to: TableName;
  /** What the columns of `from` have the value of. */
  readonly keys: readonly string[];
  /** How many rows of `from` belong to one of `to`. */
  readonly many: 'any number' | 'at most one';
  /** What it means, for readers. */
  readonly meaning: string;
}

const toRequest = (from: TableName, column: string, meaning: string, many: Relation['many'] = 'any number') =>
  ({ from, columns: [column], to: 'auth_request_state', keys: ['auth_request_id'], many, meaning }) satisfies Relation;

export const RELATIONS: readonly Relation[] = [
  toRequest('payment_events', 'aggregate_id', 'The events of a request, from which its row can be rebuilt.'),
  toRequest('outbox', 'aggregate_id', 'The messages that tell of a request.'),
  toRequest(
    'auth_idempotency_keys',
    'auth_request_id',
    'The keys that made or changed a request, until they are purged.',
  ),
  toRequest(
    'auth_processing_locks',
    'auth_request_id',
    'The lease of the worker that works on a request.',
    'at most one',
  ),
  {
    from: 'auth_request_state',
    columns: ['last_event_id'],
    to: 'payment_events',
    keys: ['event_id'],
    many: 'at most one',
    meaning: 'The last event of a request.',
  },
  {
    from: 'auth_request_state',
    columns: ['restaurant_id', 'attempt_version'],
    to: 'restaurant_payment_configs',
    keys: ['restaurant_id', 'config_version'],
    many: 'any number',
    meaning: 'The configuration under which the current attempt of a request asks.',
  },
];
