import { inClass } from '../fence/fence-sql';
import { type ResidueClass } from '../fence/residue';

/** A column that the reporting database gets: its type, and where it is computed, from what. */
export interface ReportingColumn {
  readonly name: string;
  /** As `format_type` writes it. */
  readonly type: string;
  readonly expression?: string;
}

/**
 * Text is in one collation at both ends, by its name. The reporting database merges and groups what each database has sorted,
 * and trusts that order: where two sorted by the locale each has by default, sums and counts would be wrong without an error.
 */
export const collationOf = ({ type }: ReportingColumn): string =>
  /^(character varying|text)\b/.test(type) ? ' COLLATE "C"' : '';

/** One table of the reporting database: a view at each database of payments, whose rows it shows together. */
export interface ReportingView {
  /** The same in both. */
  readonly name: string;
  /** The table of this package that it reads. */
  readonly table: string;
  /** What one row is. */
  readonly comment: string;
  readonly columns: readonly ReportingColumn[];
  /** Counts and sums, a row for each combination of the columns that are neither. */
  readonly aggregates: boolean;
}

/** `id bigint, status character varying(20)`. */
const columns = (text: string): ReportingColumn[] =>
  text
    .trim()
    .split(/,\s*/)
    .map((column) => {
      const [, name, type] = /^(\w+) (.+)$/.exec(column)!;
      return {
        name: name!,
        type: type!.replace('timestamptz', 'timestamp with time zone').replace('varchar', 'character varying'),
      };
    });

/**
 * All that leaves a database for reports. Columns are named one by one, so that one that is added later stays where it is
 * until somebody decides; {@link LEFT_OUT} names the others. Secrets never leave: payment tokens, content and metadata of
 * events, payloads, idempotency keys, settings and secrets of processors, fencing tokens.
 */
export const REPORTING_VIEWS: readonly ReportingView[] = [
  {
    name: 'requests',
    table: 'auth_request_state',
    comment: 'One authorization request, without its payment token and metadata.',
    columns: columns(`
      auth_request_id uuid, restaurant_id uuid, status varchar(20), amount_cents bigint, currency varchar(3),
      processor_name varchar(50), processor_auth_id varchar(255), authorized_amount_cents bigint,
      authorization_code varchar(100), denial_code varchar(50), created_at timestamptz, updated_at timestamptz,
      completed_at timestamptz, last_event_sequence integer, last_event_id uuid, attempt_open boolean, attempt integer,
      attempt_version varchar(50), attempt_unanswered boolean, unanswered_versions text[], unanswered_since timestamptz,
      retry_count integer, sweeps integer, swept_at timestamptz`),
    aggregates: false,
  },
  {
    name: 'events',
    table: 'payment_events',
    comment: 'That something has happened to one authorization request, and when; not what it holds.',
    columns: columns(`
      id bigint, event_id uuid, aggregate_id uuid, aggregate_type varchar(50), event_type varchar(100),
      created_at timestamptz, sequence_number integer, restaurant_id uuid`),
    aggregates: false,
  },
  {
    name: 'holds',
    table: 'auth_holds',
    comment: 'One authorization at a processor, and where its money is.',
    columns: columns(`
      auth_request_id uuid, restaurant_id uuid, processor_name varchar(50), processor_auth_id varchar(255),
      amount_cents bigint, currency varchar(3), config_version varchar(50), authorized_at timestamptz,
      hold_expires_at timestamptz, state varchar(20), state_since timestamptz, is_needed boolean, is_answered boolean,
      ended_amount_cents bigint, ended_by varchar(255), closed_by varchar(255), void_failures integer,
      last_void_error varchar(100), next_void_at timestamptz, sweeps integer, swept_at timestamptz,
      first_event_sequence integer, last_event_sequence integer`),
    aggregates: false,
  },
  {
    name: 'messages',
    table: 'outbox',
    comment: 'One message of the outbox, without its payload and headers, until it is purged.',
    columns: columns(`
      id bigint, aggregate_id uuid, restaurant_id uuid, message_type varchar(100), attempts integer,
      next_attempt_at timestamptz, created_at timestamptz, processed_at timestamptz, failed_at timestamptz,
      discarded_at timestamptz, discarded_by varchar(255)`),
    aggregates: false,
  },
  {
    name: 'configurations',
    table: 'restaurant_payment_configs',
    comment: 'One version of how the payments of a restaurant are processed, without settings and secrets.',
    columns: columns(`
      restaurant_id uuid, config_version varchar(50), processor_name varchar(50), is_active boolean, created_at timestamptz,
      updated_at timestamptz`),
    aggregates: false,
  },
  {
    name: 'requests_by_day',
    table: 'auth_request_state',
    comment:
      'How many requests of a restaurant, accepted on one day of UTC, have this status now, and of how much money.',
    columns: [
      ...columns('restaurant_id uuid'),
      { name: 'day', type: 'date', expression: "(created_at AT TIME ZONE 'UTC')::date" },
      ...columns('status varchar(20), currency varchar(3)'),
      { name: 'requests', type: 'bigint', expression: 'count(*)' },
      { name: 'amount_cents', type: 'numeric', expression: 'sum(amount_cents)' },
      { name: 'authorized_amount_cents', type: 'numeric', expression: 'sum(authorized_amount_cents)' },
    ],
    aggregates: true,
  },
  {
    name: 'holds_by_state',
    table: 'auth_holds',
    comment:
      'How many holds of a restaurant at one processor are in this state, of how much money, and since when the oldest.',
    columns: [
      ...columns(
        'restaurant_id uuid, processor_name varchar(50), state varchar(20), is_needed boolean, currency varchar(3)',
      ),
      { name: 'holds', type: 'bigint', expression: 'count(*)' },
      { name: 'amount_cents', type: 'numeric', expression: 'sum(amount_cents)' },
      { name: 'oldest_since', type: 'timestamp with time zone', expression: 'min(state_since)' },
    ],
    aggregates: true,
  },
  {
    name: 'messages_by_state',
    table: 'outbox',
    comment:
      'How many messages of a restaurant are pending, failed (dead letters), delivered or discarded, and of when the oldest.',
    columns: [
      ...columns('restaurant_id uuid, message_type varchar(100)'),
      {
        name: 'state',
        type: 'text',
        expression:
          "CASE WHEN discarded_at IS NOT NULL THEN 'discarded' WHEN processed_at IS NOT NULL THEN 'delivered' " +
          "WHEN failed_at IS NOT NULL THEN 'failed' ELSE 'pending' END",
      },
      { name: 'messages', type: 'bigint', expression: 'count(*)' },
      { name: 'oldest_created_at', type: 'timestamp with time zone', expression: 'min(created_at)' },
    ],
    aggregates: true,
  },
];

/**
 * What stays in its database, table by table: secrets, and texts from outside that may hold anything. A table that is not
 * among the views stays whole.
 */
export const LEFT_OUT: Readonly<Record<string, readonly string[] | 'whole'>> = {
  auth_request_state: ['payment_token', 'metadata', 'denial_reason', 'attempt_token'],
  payment_events: ['event_data', 'metadata'],
  auth_holds: [],
  outbox: ['payload', 'headers', 'last_error', 'discard_reason'],
  restaurant_payment_configs: [
    ...['processor_config', 'sealed_secrets', 'sealed_fields', 'data_key_id'],
    ...['created_by', 'switched_off_by', 'copy_of'],
  ],
  auth_idempotency_keys: 'whole',
  auth_processing_locks: 'whole',
  processors: 'whole',
  data_keys: 'whole',
  payment_events_db_migrations: 'whole',
};

const isComputed = ({ expression = '' }: ReportingColumn) => /^(count|sum|min)\(/.test(expression);

/**
 * The query of a view: the rows of one class of restaurants alone. A database keeps events of restaurants that have moved
 * away, and would show them a second time.
 *
 * @param schema of the tables, in quotes where it needs them
 */
export function queryOf(
  { columns: all, table, aggregates }: ReportingView,
  shard: ResidueClass,
  schema: string,
): string {
  const valueOf = (column: ReportingColumn) => `${column.expression ?? column.name}${collationOf(column)}`;
  const selected = all.map((column) =>
    valueOf(column) === column.name ? column.name : `${valueOf(column)} AS ${column.name}`,
  );
  const groups = all.filter((column) => !isComputed(column)).map(valueOf);
  return [
    `SELECT ${selected.join(', ')}`,
    `FROM ${schema}.${table}`,
    ...(shard.modulus > 1 ? [`WHERE ${inClass(shard)}`] : []),
    ...(aggregates ? [`GROUP BY ${groups.join(', ')}`] : []),
  ].join('\n');
}
