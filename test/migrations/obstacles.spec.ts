import { migrations } from '../../src';
import { findObjects } from '../../src/migrator/obstacles';
import { createTestDatabase, type TestDatabase } from '../../src/testing';
import { withClient } from '../../src/testing/with-client';
import {
  EXPANDED_LEVEL,
  LATEST_LEVEL,
  LEGACY_LEVEL,
  levelOf,
  MigrationChain,
} from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { currentTestRun } from '../../src/testing/test-run';
import { useTestDatabase } from '../support/database/use-test-database';

const LOG_FUNCTION = `CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`;

/** What others may have made on the expanded schema, and the first migration that it stops; none where it stops none. */
const OBJECTS: [what: string, sql: string, stops?: string][] = [
  ['a view of a time', 'CREATE VIEW report AS SELECT created_at FROM outbox', 'ContractTimestamps'],
  [
    'a view that orders by a time',
    'CREATE VIEW report AS SELECT id FROM outbox ORDER BY created_at',
    'ContractTimestamps',
  ],
  ['a view of all columns', 'CREATE VIEW report AS SELECT * FROM auth_request_state', 'ContractTimestamps'],
  [
    'a view of a view',
    'CREATE VIEW inner_one AS SELECT updated_at FROM restaurant_payment_configs; CREATE VIEW report AS SELECT * FROM inner_one',
    'ContractTimestamps',
  ],
  ['a view without a time', 'CREATE VIEW report AS SELECT id, payload FROM outbox'],
  ['a view of whole rows', 'CREATE VIEW report AS SELECT outbox FROM outbox'],
  ['a view that counts', 'CREATE VIEW report AS SELECT count(*) FROM payment_events'],
  [
    'a view in another schema',
    'CREATE SCHEMA reports; CREATE VIEW reports.daily AS SELECT completed_at FROM auth_request_state',
    'ContractTimestamps',
  ],
  [
    'a materialized view',
    'CREATE MATERIALIZED VIEW report AS SELECT created_at FROM payment_events',
    'ContractTimestamps',
  ],
  ['a materialized view without a time', 'CREATE MATERIALIZED VIEW report AS SELECT id FROM payment_events'],
  [
    'a materialized view of whole rows',
    'CREATE MATERIALIZED VIEW report AS SELECT outbox FROM outbox',
    'ContractTimestamps',
  ],
  [
    'a rule',
    `CREATE TABLE log (at timestamp); CREATE RULE log_them AS ON INSERT TO outbox DO ALSO INSERT INTO log VALUES (NEW.created_at)`,
    'ContractTimestamps',
  ],
  [
    'a rule without a time',
    `CREATE TABLE log (id bigint); CREATE RULE log_them AS ON DELETE TO auth_processing_locks DO ALSO INSERT INTO log VALUES (1)`,
  ],
  [
    'a function with a parsed body',
    `CREATE FUNCTION last_event() RETURNS timestamp LANGUAGE sql BEGIN ATOMIC SELECT max(created_at) FROM payment_events; END`,
    'ContractTimestamps',
  ],
  [
    'a parsed body that returns a query',
    `CREATE FUNCTION pending() RETURNS SETOF bigint LANGUAGE sql BEGIN ATOMIC SELECT id FROM outbox WHERE processed_at IS NULL; END`,
    'ContractTimestamps',
  ],
  [
    'a parsed body without a time',
    `CREATE FUNCTION events() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM payment_events; END`,
  ],
  [
    'a function whose body is a text',
    `CREATE FUNCTION last_event() RETURNS timestamp LANGUAGE sql AS 'SELECT max(created_at) FROM payment_events'`,
  ],
  [
    'a PL/pgSQL function',
    `CREATE FUNCTION last_event() RETURNS timestamp LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(created_at) FROM payment_events); END'`,
  ],
  [
    'a function of whole rows',
    `CREATE FUNCTION age(outbox) RETURNS interval LANGUAGE sql AS 'SELECT now() - $1.created_at'`,
  ],
  ['a policy', `CREATE POLICY recent ON outbox USING (created_at > '2026-01-01')`, 'ContractTimestamps'],
  [
    'a policy that checks',
    `CREATE POLICY recent ON outbox FOR INSERT WITH CHECK (processed_at IS NULL)`,
    'ContractTimestamps',
  ],
  [
    'a policy of another table',
    `CREATE TABLE notes (id uuid); CREATE POLICY of_settled ON notes USING (EXISTS (SELECT FROM auth_request_state WHERE auth_request_id = notes.id AND completed_at IS NOT NULL))`,
    'ContractTimestamps',
  ],
  ['a policy without a time', `CREATE POLICY own ON outbox USING (message_type = 'auth_request_queued')`],
  [
    'a trigger with WHEN',
    `${LOG_FUNCTION}; CREATE TRIGGER log_it AFTER UPDATE ON outbox FOR EACH ROW WHEN (NEW.processed_at IS NOT NULL) EXECUTE FUNCTION log_it()`,
    'ContractTimestamps',
  ],
  [
    'a trigger with UPDATE OF',
    `${LOG_FUNCTION}; CREATE TRIGGER log_it AFTER UPDATE OF completed_at ON auth_request_state FOR EACH ROW EXECUTE FUNCTION log_it()`,
    'ContractTimestamps',
  ],
  [
    'a trigger that compares rows',
    `${LOG_FUNCTION}; CREATE TRIGGER log_it AFTER UPDATE ON outbox FOR EACH ROW WHEN (NEW IS DISTINCT FROM OLD) EXECUTE FUNCTION log_it()`,
  ],
  [
    'a trigger without conditions',
    `${LOG_FUNCTION}; CREATE TRIGGER log_it AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION log_it()`,
  ],
  [
    'a constraint trigger with UPDATE OF',
    `${LOG_FUNCTION}; CREATE CONSTRAINT TRIGGER log_it AFTER UPDATE OF updated_at ON restaurant_payment_configs DEFERRABLE FOR EACH ROW EXECUTE FUNCTION log_it()`,
    'ContractTimestamps',
  ],
  [
    'a publication with WHERE',
    `CREATE PUBLICATION feed FOR TABLE outbox WHERE (processed_at IS NULL)`,
    'ContractTimestamps',
  ],
  [
    'a publication with a list of columns',
    `CREATE PUBLICATION feed FOR TABLE payment_events (id, created_at)`,
    'ContractTimestamps',
  ],
  ['a publication of other columns', `CREATE PUBLICATION feed FOR TABLE payment_events (id, event_type)`],
  ['a plain publication', `CREATE PUBLICATION feed FOR TABLE payment_events, outbox`],
  ['a publication of all tables', `CREATE PUBLICATION feed FOR ALL TABLES`],
  [
    'a generated column',
    `ALTER TABLE outbox ADD COLUMN day timestamp GENERATED ALWAYS AS (date_trunc('day', created_at)) STORED`,
    'ContractTimestamps',
  ],
  [
    'a generated column without a time',
    `ALTER TABLE outbox ADD COLUMN size integer GENERATED ALWAYS AS (length(payload)) STORED`,
  ],
  ['a column of a row type', `CREATE TABLE archive (snapshot outbox)`, 'ContractTimestamps'],
  ['a column of an array of rows', `CREATE TABLE archive (snapshots payment_events[])`, 'ContractTimestamps'],
  [
    'a column of a domain over rows',
    `CREATE DOMAIN a_row AS auth_processing_locks; CREATE TABLE archive (snapshot a_row)`,
    'ContractTimestamps',
  ],
  [
    'a column of a type that holds rows',
    `CREATE TYPE pair AS (one outbox, other outbox); CREATE TABLE archive (snapshot pair)`,
    'ContractTimestamps',
  ],
  [
    'a column of an array of a domain of a type that holds rows',
    `CREATE TYPE holder AS (one auth_idempotency_keys); CREATE DOMAIN held AS holder; CREATE TABLE archive (snapshot held[])`,
    'ContractTimestamps',
  ],
  ['a type that holds rows and is not stored', `CREATE TYPE pair AS (one outbox, other outbox)`],
  ['an index', `CREATE INDEX mine ON outbox (created_at)`],
  ['an index that includes a time', `CREATE INDEX mine ON payment_events (event_type) INCLUDE (created_at)`],
  ['an index on what is not null', `CREATE INDEX mine ON outbox (message_type) WHERE processed_at IS NULL`],
  [
    'an index whose condition compares a time',
    `CREATE INDEX mine ON outbox (id) WHERE created_at > '2026-01-01'`,
    'ContractTimestamps',
  ],
  [
    'an index on an expression of a time',
    `CREATE INDEX mine ON payment_events ((created_at::date))`,
    'ContractTimestamps',
  ],
  ['an index on an expression without a time', `CREATE INDEX mine ON payment_events (lower(event_type))`],
  ['an index on what is null', `CREATE INDEX mine ON outbox ((processed_at IS NULL))`],
  ['a BRIN index', `CREATE INDEX mine ON auth_request_state USING brin (updated_at)`],
  ['a unique index', `CREATE UNIQUE INDEX mine ON payment_events (id, created_at)`],
  ['statistics', `CREATE STATISTICS mine ON event_type, created_at FROM payment_events`],
  ['statistics of an expression', `CREATE STATISTICS mine ON (created_at::date), event_type FROM payment_events`],
  [
    'an exclusion constraint',
    `ALTER TABLE auth_processing_locks ADD CONSTRAINT mine EXCLUDE USING gist (tsrange(locked_at, expires_at) WITH &&)`,
    'ContractTimestamps',
  ],
  [
    'a plain exclusion constraint',
    `ALTER TABLE outbox ADD CONSTRAINT mine EXCLUDE USING btree (id WITH =, created_at WITH =)`,
  ],
  ['a check', `ALTER TABLE outbox ADD CONSTRAINT mine CHECK (created_at < '2100-01-01')`],
  [
    'a foreign key over a time',
    `ALTER TABLE payment_events ADD CONSTRAINT once UNIQUE (id, created_at); CREATE TABLE notes (id bigint, at timestamp)`,
  ],
  ['a child', `CREATE TABLE outbox_archive () INHERITS (outbox)`],
  [
    'a view of a child',
    `CREATE TABLE outbox_archive () INHERITS (outbox); CREATE VIEW report AS SELECT created_at FROM outbox_archive`,
    'ContractTimestamps',
  ],
  ['a parent', `CREATE TABLE timed (processed_at timestamp); ALTER TABLE outbox INHERIT timed`, 'ContractTimestamps'],
  ['a parent without a time', `CREATE TABLE payloads (payload bytea NOT NULL); ALTER TABLE outbox INHERIT payloads`],
  [
    'a foreign key to the key that changes',
    `CREATE TABLE terminals (restaurant_id uuid REFERENCES restaurant_payment_configs)`,
    'ContractKeysAndIndexes',
  ],
  ['a foreign key to another key', `CREATE TABLE notes (id uuid REFERENCES auth_request_state)`],
  ['a foreign key to a unique constraint', `CREATE TABLE notes (id uuid REFERENCES payment_events (event_id))`],
  [
    'a foreign key to an index of its own',
    `CREATE UNIQUE INDEX mine ON restaurant_payment_configs (restaurant_id, config_version, processor_name); CREATE TABLE terminals (a uuid, b varchar(50), c varchar(50), FOREIGN KEY (a, b, c) REFERENCES restaurant_payment_configs (restaurant_id, config_version, processor_name))`,
  ],
  [
    'a view that groups by the key',
    `CREATE VIEW report AS SELECT restaurant_id, processor_name FROM restaurant_payment_configs GROUP BY restaurant_id`,
    'ContractKeysAndIndexes',
  ],
  [
    'another table with the trigger',
    `CREATE TABLE notes (updated_at timestamp); CREATE TRIGGER touch BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`,
  ],
  [
    'another trigger of ours',
    `CREATE TRIGGER touch BEFORE INSERT ON auth_request_state FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`,
  ],
  [
    'a foreign key of times',
    `ALTER TABLE payment_events ADD CONSTRAINT once UNIQUE (created_at); CREATE TABLE notes (at timestamp REFERENCES payment_events (created_at))`,
  ],
  ['an index on whole rows', `CREATE INDEX mine ON outbox ((outbox IS NOT NULL))`],
  [
    'an index on a function of whole rows',
    `CREATE FUNCTION it(outbox) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1.id'; CREATE INDEX mine ON outbox (it(outbox))`,
  ],
  [
    'a unique index on what is not null',
    `CREATE UNIQUE INDEX mine ON outbox (id) WHERE processed_at IS NOT NULL AND message_type <> ''`,
  ],
  [
    'an exclusion constraint with a condition',
    `ALTER TABLE outbox ADD CONSTRAINT mine EXCLUDE USING btree (id WITH =) WHERE (created_at > '2026-01-01')`,
    'ContractTimestamps',
  ],
  ['a sequence of a column', `CREATE SEQUENCE mine OWNED BY outbox.created_at`],
  [
    'a view whose condition is a time',
    `CREATE VIEW report AS SELECT id FROM payment_events WHERE created_at > '2026-01-01'`,
    'ContractTimestamps',
  ],
  [
    'a trigger on a view',
    `CREATE VIEW report AS SELECT id, created_at FROM outbox; ${LOG_FUNCTION}; CREATE TRIGGER log_it INSTEAD OF INSERT ON report FOR EACH ROW EXECUTE FUNCTION log_it()`,
    'ContractTimestamps',
  ],
  [
    'a procedure with a parsed body',
    `CREATE PROCEDURE purge() LANGUAGE sql BEGIN ATOMIC DELETE FROM auth_idempotency_keys WHERE expires_at < now(); END`,
    'ContractTimestamps',
  ],
  [
    'a parsed body that upserts by the key',
    `CREATE PROCEDURE configure(uuid) LANGUAGE sql BEGIN ATOMIC INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config) VALUES ($1, 'v', 'mock', '{}') ON CONFLICT (restaurant_id) DO NOTHING; END`,
  ],
  ['a publication of a schema', `CREATE PUBLICATION feed FOR TABLES IN SCHEMA public`],
  ['a grant on a column', `GRANT SELECT (created_at) ON outbox TO PUBLIC`],
  ['a comment', `COMMENT ON COLUMN outbox.created_at IS 'when'`],
  ['a default of its own', `ALTER TABLE outbox ALTER COLUMN created_at SET DEFAULT clock_timestamp()`],
];

/** The same on the legacy schema, where columns are still to be added. */
const BEFORE_EXPAND: typeof OBJECTS = [
  ['a column of a row type', `CREATE TABLE archive (snapshot auth_request_state)`, 'ExpandColumns'],
  [
    'a partition',
    `CREATE TABLE messages (LIKE outbox) PARTITION BY RANGE (id);
    ALTER TABLE outbox ALTER id DROP IDENTITY;
    ALTER TABLE messages ATTACH PARTITION outbox DEFAULT`,
    'ExpandColumns',
  ],
  [
    'a table of a type',
    `CREATE TYPE lock AS (auth_request_id uuid, worker_id varchar(255), locked_at timestamp, expires_at timestamp);
    ALTER TABLE auth_processing_locks OF lock`,
    'ExpandColumns',
  ],
  ['a child', `CREATE TABLE outbox_archive () INHERITS (outbox)`],
];

/** The same on the newest schema, on the way back. */
const BEFORE_REVERT: typeof OBJECTS = [
  ['a view of a time', 'CREATE VIEW report AS SELECT created_at FROM outbox', 'ContractTimestamps'],
  ['a view of a column that goes', 'CREATE VIEW report AS SELECT restaurant_id FROM payment_events', 'ExpandColumns'],
  [
    'a parsed body over a column that goes',
    `CREATE PROCEDURE mend() LANGUAGE sql BEGIN ATOMIC UPDATE outbox SET attempts = 0; END`,
    'ExpandColumns',
  ],
  ['a policy on a column that goes', `CREATE POLICY own ON outbox USING (restaurant_id IS NOT NULL)`, 'ExpandColumns'],
  ['a publication of columns that go', `CREATE PUBLICATION feed FOR TABLE outbox (id, headers)`, 'ExpandColumns'],
  [
    'a trigger on a column that goes',
    `${LOG_FUNCTION}; CREATE TRIGGER log_it AFTER UPDATE OF failed_at ON outbox FOR EACH ROW EXECUTE FUNCTION log_it()`,
    'ExpandColumns',
  ],
  [
    'a foreign key to a column that goes',
    `ALTER TABLE auth_processing_locks ADD CONSTRAINT once UNIQUE (fencing_token); CREATE TABLE notes (token bigint REFERENCES auth_processing_locks (fencing_token))`,
    'ExpandColumns',
  ],
  ['an index on a column that goes', `CREATE INDEX mine ON outbox (restaurant_id)`],
  [
    'a generated column of one that goes',
    `ALTER TABLE outbox ADD COLUMN size integer GENERATED ALWAYS AS (length(last_error)) STORED`,
    'ExpandColumns',
  ],
  [
    'a foreign key to the key that changes',
    `CREATE TABLE terminals (a uuid, b varchar(50), FOREIGN KEY (a, b) REFERENCES restaurant_payment_configs)`,
    'ContractKeysAndIndexes',
  ],
  [
    'another table with a guard',
    `CREATE TABLE notes (id bigint); CREATE TRIGGER keep BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION guard_restaurant_payment_configs()`,
    'GuardConfigVersions',
  ],
  ['a view of a table that goes', 'CREATE VIEW report AS SELECT amount_cents FROM auth_holds', 'AddHolds'],
  ['another one', 'CREATE MATERIALIZED VIEW report AS SELECT count(*) FROM processors', 'AddProcessors'],
  [
    'a foreign key to a table that goes',
    'CREATE TABLE terminals (name varchar(50) REFERENCES processors)',
    'AddProcessors',
  ],
  ['a child of a table that goes', 'CREATE TABLE old_keys () INHERITS (data_keys)', 'AddConfigSecrets'],
  ['a column that stores rows of a table that goes', 'CREATE TABLE notes (key data_keys)', 'AddConfigSecrets'],
  [
    'a parsed body over a table that goes',
    'CREATE FUNCTION known() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM processors; END',
    'AddProcessors',
  ],
  [
    'a policy that reads a table that goes',
    'CREATE POLICY own ON outbox USING (EXISTS (SELECT FROM processors))',
    'AddProcessors',
  ],
  [
    'another table with the guard of data keys',
    `CREATE TABLE notes (id bigint); CREATE TRIGGER keep BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION guard_data_keys()`,
    'AddConfigSecrets',
  ],
  ['an index on a table that goes', 'CREATE INDEX mine ON processors (created_at)'],
  ['a publication of a table that goes', 'CREATE PUBLICATION feed FOR TABLE processors'],
  ['a view of what stays', 'CREATE VIEW report AS SELECT id, event_type FROM payment_events'],
];

const cases = (objects: typeof OBJECTS) => objects.map(([what, sql, stops = 'nothing']) => ({ what, sql, stops }));

describe.each([
  { when: 'before contract', from: EXPANDED_LEVEL, to: LATEST_LEVEL, objects: OBJECTS },
  { when: 'before expand', from: LEGACY_LEVEL, to: levelOf('ExpandColumns'), objects: BEFORE_EXPAND },
  { when: 'before the way back', from: LATEST_LEVEL, to: LEGACY_LEVEL, objects: BEFORE_REVERT },
])('what is in the way is told $when:', ({ from, to, objects }) => {
  const template = useTestDatabase({ empty: true });
  let database: TestDatabase;
  beforeAll(async () => {
    await new MigrationChain(template).upTo(from);
    await template.closeSessions();
  });
  beforeEach(async () => {
    const { serverUrl, prefix } = currentTestRun();
    database = await createTestDatabase(serverUrl, { prefix, template: template.name });
  });
  afterEach(() => database.drop());

  test.each(cases(objects))('$what, which stops $stops', async ({ sql, stops }) => {
    await withClient(database.url, (client) => client.query(sql));
    const direction = from < to ? 'up' : 'down';
    const told = await foretold(database, migrations.slice(Math.min(from, to), Math.max(from, to)), direction);
    expect({ told, really: await whatStops(database, from, to) }).toEqual({ told: stops, really: stops });
  });
});

/** The first migration that is named, without its time. */
async function foretold(database: TestDatabase, run: typeof migrations, direction: 'up' | 'down'): Promise<string> {
  const order = direction === 'up' ? run : run.toReversed();
  const dataSource = await quietDataSource({ url: database.url });
  const session = dataSource.createQueryRunner();
  try {
    const obstacles = await findObjects(
      session,
      order.map((Migration) => ({ migration: new Migration(), direction })),
    );
    return obstacles[0]?.migration.slice(0, -13) ?? 'nothing';
  } finally {
    await session.release();
    await dataSource.destroy();
  }
}

/** Runs the migrations past the history and past whoever would look before. */
async function whatStops(database: TestDatabase, from: number, to: number): Promise<string> {
  const chain = new MigrationChain(database);
  const step = from < to ? 1 : -1;
  for (let level = from; level !== to; level += step) {
    const current = step > 0 ? level + 1 : level;
    const failed = await chain.byHand(current, async (migration, session) =>
      (step > 0 ? migration.up(session) : migration.down(session)).then(
        () => false,
        () => true,
      ),
    );
    if (failed) return migrations[current - 1]!.name.slice(0, -13);
  }
  return 'nothing';
}
