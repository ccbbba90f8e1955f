import { type DataSource } from 'typeorm';
import { findDrift, migrations } from '../../src';
import { grantPrivileges } from '../../src/grants/grant-privileges';
import { roleNames } from '../../src/grants/role-name';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { compareCatalogs, type Drift } from '../../src/schema/compare-catalogs';
import { describeDrift } from '../../src/schema/describe-drift';
import { EXPANDED_LEVEL, LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

/** What somebody does to a schema, and the objects that differ then: - missing, + unexpected, ≠ different. */
const MUTATIONS: Record<string, [change: string, ...found: string[]]> = {
  'another condition of a check': [
    `ALTER TABLE payment_events DROP CONSTRAINT check_sequence_positive,
     ADD CONSTRAINT check_sequence_positive CHECK (sequence_number > -1)`,
    '≠ table payment_events: constraint check_sequence_positive',
  ],
  'a check that is NOT VALID': [
    `ALTER TABLE payment_events DROP CONSTRAINT check_sequence_positive,
     ADD CONSTRAINT check_sequence_positive CHECK (sequence_number > 0) NOT VALID`,
    '≠ table payment_events: constraint check_sequence_positive',
  ],
  'a check that was dropped': [
    'ALTER TABLE auth_request_state DROP CONSTRAINT auth_request_state_amount_positive',
    '- table auth_request_state: constraint auth_request_state_amount_positive',
  ],
  'another condition of a partial index': [
    `DROP INDEX idx_outbox_pending; CREATE INDEX idx_outbox_pending ON outbox (id) WHERE processed_at IS NULL`,
    '≠ table outbox: index idx_outbox_pending',
  ],
  'another order within an index': [
    `DROP INDEX idx_restaurant_created;
     CREATE INDEX idx_restaurant_created ON auth_request_state (restaurant_id, created_at)`,
    '≠ table auth_request_state: index idx_restaurant_created',
  ],
  'an index that an interrupted build left INVALID': [
    `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_payment_token'::regclass`,
    '≠ table auth_request_state: index idx_payment_token',
  ],
  'a dropped index that TypeORM is told to leave alone': [
    'DROP INDEX idx_payment_events_created_at',
    '- table payment_events: index idx_payment_events_created_at',
  ],
  'an index of somebody': [
    `CREATE INDEX "of Somebody" ON outbox (message_type)`,
    '+ table outbox: index "of Somebody"',
  ],
  'an identity that refuses ids': [
    'ALTER TABLE outbox ALTER COLUMN id SET GENERATED ALWAYS',
    '≠ table outbox: column id',
  ],
  'an identity that is none any more': [
    'ALTER TABLE outbox ALTER COLUMN id DROP IDENTITY',
    '≠ table outbox: column id',
    '- sequence outbox_id_seq',
  ],
  'ids that sessions draw in batches': ['ALTER SEQUENCE outbox_id_seq CACHE 50', '≠ sequence outbox_id_seq'],
  'fencing tokens that a crash gives out again': [
    'ALTER SEQUENCE auth_processing_fencing_tokens SET UNLOGGED',
    '≠ sequence auth_processing_fencing_tokens',
  ],
  'a guard that is switched off': [
    'ALTER TABLE payment_events DISABLE TRIGGER payment_events_append_only',
    '≠ table payment_events: trigger payment_events_append_only',
  ],
  'guards as pg_restore --disable-triggers leaves them': [
    'ALTER TABLE payment_events DISABLE TRIGGER ALL; ALTER TABLE payment_events ENABLE TRIGGER ALL',
    '≠ table payment_events: trigger payment_events_append_only',
    '≠ table payment_events: trigger payment_events_no_truncate',
  ],
  'a guard that is gone': [
    'DROP TRIGGER guard_auth_request_state ON auth_request_state',
    '- table auth_request_state: trigger guard_auth_request_state',
  ],
  'a trigger of somebody': [
    `CREATE TRIGGER somebody AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse_payment_events_change()`,
    '+ table outbox: trigger somebody',
  ],
  'a guard with another body': [
    `CREATE OR REPLACE FUNCTION refuse_payment_events_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'`,
    '≠ function refuse_payment_events_change',
  ],
  'a guard that runs with the rights of its owner': [
    'ALTER FUNCTION guard_auth_request_state() SECURITY DEFINER',
    '≠ function guard_auth_request_state',
  ],
  'a function of the same name': [
    `CREATE FUNCTION refuse_payment_events_gap(int) RETURNS int LANGUAGE sql AS 'SELECT 1'`,
    expect.stringMatching(/^\+ function refuse_payment_events_gap /) as string,
  ],
  'another fillfactor': ['ALTER TABLE auth_request_state SET (fillfactor = 100)', '≠ table auth_request_state'],
  'another threshold of autovacuum': ['ALTER TABLE outbox RESET (autovacuum_vacuum_threshold)', '≠ table outbox'],
  'a table that a crash empties': ['ALTER TABLE auth_processing_locks SET UNLOGGED', '≠ table auth_processing_locks'],
  'rows that are hidden': [
    `ALTER TABLE payment_events ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON payment_events USING (id < 5)`,
    '≠ table payment_events',
    '+ table payment_events: policy few',
  ],
  'a rule that swallows writes': [
    'CREATE RULE swallow AS ON INSERT TO outbox DO INSTEAD NOTHING',
    '+ table outbox: rule swallow',
  ],
  'an update that replicas cannot follow': ['ALTER TABLE outbox REPLICA IDENTITY NOTHING', '≠ table outbox'],
  'a grant': ['GRANT DELETE ON payment_events TO PUBLIC', '+ table payment_events: grant DELETE to PUBLIC'],
  'a grant on a column': [
    'GRANT UPDATE (status) ON auth_request_state TO PUBLIC',
    '+ table auth_request_state: grant UPDATE on column status to PUBLIC',
  ],
  'a grant on a sequence': [
    'GRANT UPDATE ON SEQUENCE auth_processing_fencing_tokens TO PUBLIC',
    '+ sequence auth_processing_fencing_tokens: grant UPDATE to PUBLIC',
  ],
  'another default': ['ALTER TABLE outbox ALTER COLUMN attempts SET DEFAULT 1', '≠ table outbox: column attempts'],
  'a column that may be null': [
    'ALTER TABLE payment_events ALTER COLUMN restaurant_id DROP NOT NULL',
    '≠ table payment_events: column restaurant_id',
  ],
  'a column that PostgreSQL 18 only says is never null': [
    `ALTER TABLE payment_events ALTER COLUMN restaurant_id DROP NOT NULL;
     DO $$ BEGIN
       IF current_setting('server_version_num')::int >= 180000 THEN
         EXECUTE 'ALTER TABLE payment_events ADD CONSTRAINT present NOT NULL restaurant_id NOT VALID';
       END IF;
     END $$`,
    '≠ table payment_events: column restaurant_id',
  ],
  'a longer column': [
    'ALTER TABLE auth_request_state ALTER COLUMN currency TYPE varchar(4)',
    '≠ table auth_request_state: column currency',
  ],
  'a column that compares differently': [
    'ALTER TABLE auth_idempotency_keys ALTER COLUMN idempotency_key TYPE varchar(255) COLLATE "C"',
    '≠ table auth_idempotency_keys: column idempotency_key',
  ],
  'a column that is stored differently': [
    'ALTER TABLE payment_events ALTER COLUMN event_data SET STORAGE EXTERNAL',
    '≠ table payment_events: column event_data',
  ],
  'a column too many': ['ALTER TABLE outbox ADD COLUMN note text', '+ table outbox: column note'],
  'a column that is gone': ['ALTER TABLE outbox DROP COLUMN last_error', '- table outbox: column last_error'],
  'a table that is gone': [
    'DROP TABLE auth_idempotency_keys',
    '- table auth_idempotency_keys',
    ...['idempotency_key', 'restaurant_id', 'auth_request_id', 'created_at', 'expires_at', 'operation', 'outcome']
      .concat('request_fingerprint')
      .map((column) => `- table auth_idempotency_keys: column ${column}`),
    ...['expires_after_created', 'fingerprint_sha256', 'key_present', 'operation_present', 'pkey'].map(
      (name) => `- table auth_idempotency_keys: constraint auth_idempotency_keys_${name}`,
    ),
    '- table auth_idempotency_keys: index auth_idempotency_keys_pkey',
    '- table auth_idempotency_keys: index idx_idempotency_expires',
  ],
  'a view, with which no column under it can be changed': [
    'CREATE VIEW report AS SELECT s.status, e.id FROM auth_request_state s JOIN payment_events e ON e.id = 1',
    '+ table auth_request_state: read by report',
    '+ table payment_events: read by report',
  ],
  'a foreign key of somebody': [
    'CREATE TABLE somebodys (id uuid REFERENCES auth_request_state)',
    '+ table auth_request_state: referenced by somebodys somebodys_id_fkey FOREIGN KEY (id) REFERENCES auth_request_state(auth_request_id)',
  ],
  'events that come from elsewhere': [
    'CREATE TABLE more_events () INHERITS (payment_events)',
    '+ table payment_events: parent of more_events',
  ],
  'a table that belongs to somebody else': [
    'ALTER TABLE outbox OWNER TO pg_monitor',
    '≠ table outbox',
    '≠ sequence outbox_id_seq',
  ],
};

const SIGNS = { missing: '-', unexpected: '+', different: '≠' };
const inShort = (drift: readonly Drift[]) => drift.map(({ kind, object }) => `${SIGNS[kind]} ${object}`);

describe('a schema that somebody has changed', () => {
  const database = useTestDatabase();

  test.each(Object.entries(MUTATIONS))('%s is named, and nothing else', async (_what, [change, ...expected]) => {
    const queryRunner = (await database.dataSource()).createQueryRunner();
    await queryRunner.startTransaction();
    try {
      await queryRunner.query(change);
      expect(inShort(compareCatalogs(targetCatalog, await readCatalog(queryRunner)))).toEqual(expected);
    } finally {
      await queryRunner.rollbackTransaction();
      await queryRunner.release();
    }
    expect(await readCatalog(await database.dataSource())).toBe(targetCatalog);
  });

  test('is shown line by line, bodies of functions by the lines that differ, and nothing that a terminal obeys', async () => {
    const dataSource = await database.dataSource();
    const [body] = await database.query<{ body: string }>(
      `SELECT replace(pg_get_functiondef('guard_restaurant_payment_configs'::regproc), 'THEN clock_timestamp()', $$THEN '\x1b[2J'$$) AS body`,
    );
    await database.query(`${body!.body}; CREATE INDEX more ON outbox (id); DROP INDEX idx_payment_token`);
    await database.query(`ALTER TABLE outbox ALTER COLUMN attempts SET DEFAULT 1`);
    expect((await findDrift(dataSource, { rolePrefix: database.name })).flatMap(describeDrift)).toEqual([
      'missing: table auth_request_state: index idx_payment_token',
      '  - index CREATE INDEX idx_payment_token ON auth_request_state USING btree (payment_token)',
      'different: table outbox: column attempts',
      '  - column attempts integer not null default 0',
      '  + column attempts integer not null default 1',
      'unexpected: table outbox: index more',
      '  + index CREATE INDEX more ON outbox USING btree (id)',
      'different: function guard_restaurant_payment_configs',
      '    …',
      '  -         NEW.updated_at := CASE WHEN is_switched_off THEN clock_timestamp() ELSE OLD.updated_at END;',
      "  +         NEW.updated_at := CASE WHEN is_switched_off THEN '\\u001b[2J' ELSE OLD.updated_at END;",
      '    …',
    ]);
  });
});

describe('the privileges of the services', () => {
  const database = useTestDatabase();
  let dataSource: DataSource;
  const drift = async () => inShort(await findDrift(dataSource, { rolePrefix: database.name }));
  beforeAll(async () => {
    dataSource = await database.dataSource();
    await grantPrivileges(dataSource, { rolePrefix: database.name });
  });
  afterAll(() => {
    const roles = roleNames(database.name).join(', ');
    return database.query(`DROP OWNED BY ${roles}; DROP ROLE ${roles}`);
  });

  test('are expected where their roles exist', async () => {
    expect(await drift()).toEqual([]);
  });

  test('are not expected of anybody else, nor of them beyond what they need', async () => {
    const [api, worker] = roleNames(database.name);
    await database.query(
      `GRANT DELETE ON payment_events TO ${api}; REVOKE DELETE ON auth_processing_locks FROM ${worker}`,
    );
    expect(await drift()).toEqual([
      `- table auth_processing_locks: grant DELETE to ${worker}`,
      `+ table payment_events: grant DELETE to ${api}`,
    ]);
    expect(inShort(await findDrift(dataSource, { rolePrefix: 'of_nobody' }))).toContain(
      `+ table outbox: grant INSERT on column payload to ${api}`,
    );
  });
});

describe('what a database is compared with', () => {
  const database = useTestDatabase({ empty: true });
  const chain = () => new MigrationChain(database);
  const drift = async () => inShort(await findDrift(await database.dataSource(), { rolePrefix: database.name }));

  test('follows it from Alembic to the newest migration', async () => {
    await expect(drift()).rejects.toMatchObject({
      code: 'PENDING_MIGRATIONS',
      names: migrations.map(({ name }) => name),
    });
    for (let level = 1; level <= LATEST_LEVEL; level++) {
      await chain().upTo(level);
      expect({ level, drift: await drift() }).toEqual({ level, drift: [] });
      await database.query('ALTER TABLE outbox ADD COLUMN note text; GRANT DELETE ON payment_events TO PUBLIC');
      const changed = ['+ table outbox: column note', '+ table payment_events: grant DELETE to PUBLIC'];
      expect({ level, drift: await drift() }).toEqual({ level, drift: changed });
      await database.query('ALTER TABLE outbox DROP COLUMN note; REVOKE DELETE ON payment_events FROM PUBLIC');
    }
  });

  test('is known by what has run without a gap alone', async () => {
    const [removed] = await database.query('DELETE FROM payment_events_db_migrations WHERE id = 5 RETURNING *');
    await expect(drift()).rejects.toMatchObject({ code: 'PENDING_MIGRATIONS', names: [removed!.name] });
    await database.query(
      'INSERT INTO payment_events_db_migrations SELECT * FROM jsonb_populate_record(NULL::payment_events_db_migrations, $1)',
      [removed],
    );
  });

  test('has no privilege of the services before the end, and allows those that a revert leaves', async () => {
    const dataSource = await database.dataSource();
    await chain().upTo(LATEST_LEVEL);
    await grantPrivileges(dataSource, { rolePrefix: database.name });
    const roles = roleNames(database.name).join(', ');
    try {
      for (const level of [EXPANDED_LEVEL, LATEST_LEVEL - 1]) {
        await chain().downTo(level);
        expect({ level, drift: await drift() }).toEqual({ level, drift: [] });
        await database.query(`GRANT DELETE ON payment_events TO ${roleNames(database.name)[0]}`);
        const more = `+ table payment_events: grant DELETE to ${roleNames(database.name)[0]}`;
        expect({ level, drift: await drift() }).toEqual({ level, drift: [more] });
        await database.query(`REVOKE DELETE ON payment_events FROM ${roleNames(database.name)[0]}`);
        await chain().upTo(LATEST_LEVEL);
      }
    } finally {
      await database.query(`DROP OWNED BY ${roles}; DROP ROLE ${roles}`);
    }
  });

  test.each([LEGACY_LEVEL, LATEST_LEVEL])('is the same once it was dumped and restored, at level %i', async (level) => {
    await chain().downTo(level);
    await chain().upTo(level);
    await database.query(DUMP_AND_RESTORE);
    expect(await drift()).toEqual([]);
    await chain().upTo(LATEST_LEVEL);
  });

  test('is the revision of Alembic where that has made it', async () => {
    await chain().downTo(LEGACY_LEVEL);
    await database.query(`
      DROP TABLE payment_events_db_migrations;
      CREATE TABLE alembic_version (version_num varchar(32));
      INSERT INTO alembic_version VALUES ('09c2b295afcd')`);
    expect(await drift()).toEqual([]);
    await database.query(`UPDATE alembic_version SET version_num = '9a82c6d3b654'`);
    expect(await drift()).toEqual(['≠ table restaurant_payment_configs: constraint check_processor']);
    await database.query(`UPDATE alembic_version SET version_num = 'abcdef012345'`);
    await expect(drift()).rejects.toMatchObject({ code: 'UNKNOWN_ALEMBIC_REVISION', revisions: ['abcdef012345'] });
  });
});

/** What is left of conditions when their texts are run as a dump has them. What was a list cast whole is a list of casts then. */
const DUMP_AND_RESTORE = `
  DO $$
  DECLARE
    made record;
  BEGIN
    FOR made IN SELECT conrelid::regclass AS relation, conname AS name, pg_get_constraintdef(oid) AS definition
      FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace
    LOOP
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %3$s', made.relation, made.name, made.definition);
    END LOOP;
    FOR made IN SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition
      FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
      WHERE relnamespace = 'public'::regnamespace AND indpred IS NOT NULL
    LOOP
      EXECUTE format('DROP INDEX %s', made.name);
      EXECUTE made.definition;
    END LOOP;
  END $$`;
