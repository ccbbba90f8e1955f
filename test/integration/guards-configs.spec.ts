import { randomUUID } from 'node:crypto';
import { findDrift } from '../../src/check/drift';
import { BUILT_IN_PROCESSORS } from '../../src/configs/processors';
import { PaymentProcessor } from '../../src/entities';
import {
  aConfig,
  aDataKey,
  type ConfigRow,
  insertConfig,
  insertLegacyConfig,
  sealed,
  sealedUnder,
} from '../support/configs/config-rows';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

// AddProcessors, AddConfigSecrets and GuardConfigSecrets. That what they say quotes nothing: configs-reveal-nothing.spec.ts.

const database = useTestDatabase();

const insert = (row: ConfigRow) => insertConfig(database, row);
const update = (row: ConfigRow, change: string, ...values: unknown[]) =>
  database.query(
    `UPDATE restaurant_payment_configs SET ${change} WHERE restaurant_id = $1 AND config_version = $2 RETURNING *`,
    [row.restaurant_id, row.config_version, ...values],
  );
const NAME = (constraint: string) => `restaurant_payment_configs_${constraint}`;

describe('processors', () => {
  test('the rows that the migration inserts are those that the code describes', async () => {
    const rows = await (await database.dataSource()).getRepository(PaymentProcessor).find();
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    const found = rows.map(({ processorName, secretFields, requiredSecretFields, settingsSchema }) => ({
      ...{ name: processorName, secretFields, requiredSecretFields, settingsSchema },
    }));
    expect(found.toSorted(byName)).toEqual([...BUILT_IN_PROCESSORS].toSorted(byName));
  });

  test('a team adds one by one INSERT and configures it, and the schema is as it should be', async () => {
    await database.query(
      `INSERT INTO processors (processor_name, secret_fields, required_secret_fields, settings_schema)
       VALUES ('house_bank', '{pin}', '{pin}',
         '{"type": "object", "additionalProperties": false, "properties": {"branch": {"type": "string"}}}')`,
    );
    const dataKey = await aDataKey(database);
    await insert(
      aConfig({ processor_name: 'house_bank', processor_config: { branch: 'Köln' }, ...sealed(dataKey, ['pin']) }),
    );
    const wrong = aConfig({ processor_name: 'house_bank', processor_config: { branch: 'Köln', pin: '1' } });
    expect(await refusal(insert(wrong))).toMatchObject({ constraint: NAME('settings_not_secret') });
    expect(await findDrift(await database.dataSource(), { rolePrefix: database.name })).toEqual([]);
  });

  const CLOSED = { type: 'object', additionalProperties: false, properties: {} };
  const processor = (given: object) => ({
    processor_name: `p${randomUUID().slice(0, 8)}`,
    secret_fields: ['pin'],
    required_secret_fields: ['pin'],
    settings_schema: CLOSED,
    ...given,
  });
  const insertProcessor = (row: object) =>
    database.query(
      `INSERT INTO processors (processor_name, secret_fields, required_secret_fields, settings_schema) VALUES ($1, $2, $3, $4)`,
      Object.values(row),
    );

  test('one that keeps every rule is taken', async () => {
    await insertProcessor(processor({}));
    await insertProcessor(processor({ secret_fields: [], required_secret_fields: [] }));
  });

  test.each<[string, object, string]>([
    ['an upper-case name', { processor_name: 'Stripe' }, 'processors_name_format'],
    ['an empty name', { processor_name: '' }, 'processors_name_format'],
    ['a name of two lines', { processor_name: 'a\nb' }, 'processors_name_format'],
    ['a secret without a name', { secret_fields: ['pin', null] }, 'processors_secrets_named'],
    ['a required field that is no secret', { required_secret_fields: ['key'] }, 'processors_required_known'],
    ['a required field without a name', { required_secret_fields: [null] }, 'processors_required_known'],
    ['no schema', { settings_schema: {} }, 'processors_settings_closed'],
    ['an open schema', { settings_schema: { type: 'object', properties: {} } }, 'processors_settings_closed'],
    [
      'a schema without properties',
      { settings_schema: { type: 'object', additionalProperties: false } },
      'processors_settings_closed',
    ],
    ['a list of properties', { settings_schema: { ...CLOSED, properties: [] } }, 'processors_settings_closed'],
    ['a schema of a list', { settings_schema: { ...CLOSED, type: 'array' } }, 'processors_settings_closed'],
    [
      'a secret that is a setting',
      { settings_schema: { ...CLOSED, properties: { pin: {} } } },
      'processors_settings_not_secret',
    ],
    ['a name that is taken', { processor_name: 'stripe' }, 'processors_pkey'],
  ])('%s is refused', async (_what, wrong, constraint) => {
    expect(await refusal(insertProcessor(processor(wrong)))).toMatchObject({ constraint });
  });

  test('one that a restaurant is configured for stays', async () => {
    await insert(aConfig());
    const gone = database.query(`DELETE FROM processors WHERE processor_name = 'stripe'`);
    expect(await refusal(gone)).toMatchObject({ constraint: NAME('processor_fkey') });
  });
});

describe('a data key', () => {
  test('keeps its id and its time, under the replica role as well, and is wrapped under another key', async () => {
    const id = await aDataKey(database);
    const session = await database.connect();
    for (const role of ['origin', 'replica']) {
      await session.query(`SET session_replication_role = ${role}`);
      for (const change of ['data_key_id = gen_random_uuid()', `created_at = 'epoch'`]) {
        const changed = session.query(`UPDATE data_keys SET ${change} WHERE data_key_id = $1`, [id]);
        expect(await refusal(changed)).toMatchObject({ code: '23514', constraint: 'data_keys_immutable' });
      }
    }
    await session.end();
    const rewrapped = `UPDATE data_keys SET wrapped = '\\x01', key_encryption_key_id = 'key-2', rewrapped_at = now()
      WHERE data_key_id = $1 RETURNING data_key_id`;
    expect(await database.query(rewrapped, [id])).toHaveLength(1);
  });

  test.each([
    [`''`, `'\\x01'`, 'data_keys_key_encryption_key_named'],
    [`'key-1'`, `''`, 'data_keys_wrapped_length'],
    [`'key-1'`, `decode(repeat('00', 10001), 'hex')`, 'data_keys_wrapped_length'],
  ])('is refused under key %s with %s', async (key, wrapped, constraint) => {
    const inserted = database.query(
      `INSERT INTO data_keys (data_key_id, key_encryption_key_id, wrapped) VALUES (gen_random_uuid(), ${key}, ${wrapped})`,
    );
    expect(await refusal(inserted)).toMatchObject({ code: '23514', constraint });
  });

  test('that a version is sealed under stays', async () => {
    const id = await aDataKey(database);
    await insert(aConfig(sealed(id)));
    const gone = database.query('DELETE FROM data_keys WHERE data_key_id = $1', [id]);
    expect(await refusal(gone)).toMatchObject({ constraint: NAME('data_key_fkey') });
  });
});

describe('a new version', () => {
  let dataKey: string;
  beforeAll(async () => (dataKey = await aDataKey(database)));

  test('without secrets, with sealed ones, and as a copy of another is taken', async () => {
    const first = aConfig({ ...sealed(dataKey, ['api_key', 'webhook_secret']), is_active: false });
    await insert(first);
    await insert(
      aConfig({ restaurant_id: first.restaurant_id, config_version: 'v2', copy_of: 'v1', created_by: 'jo' }),
    );
    await insert(aConfig(sealed(dataKey, [])));
    await insert(aConfig({ is_active: false, switched_off_by: 'jo' }));
  });

  test.each([
    ['at the top', { api_key: 'sk' }],
    ['in an object', { terminal: { api_key: 'sk' } }],
    ['in a list', { terminal: [1, [{ api_key: 'sk' }]] }],
    ['deep down', JSON.parse(`${'{"a":['.repeat(40)}{"api_key":null}${']}'.repeat(40)}`) as object],
    ['whatever it holds', { api_key: { sealed: true } }],
    ['of its own processor alone', { stripe_api_key: 'sk' }],
    ['of another processor', { password: 'sk' }],
  ])('with a secret among its settings is refused: %s', async (_where, settings) => {
    expect(await refusal(insert(aConfig({ processor_config: settings })))).toMatchObject({
      code: '23514',
      constraint: NAME('settings_not_secret'),
      message: expect.stringMatching(/^a secret is among the settings: (stripe_api_key|api_key|password)$/) as string,
    });
  });

  test('may have a setting whose name is a secret of another processor', async () => {
    await database.query(`
      INSERT INTO processors (processor_name, secret_fields, settings_schema)
      VALUES ('with_user_name', '{token}',
        '{"type": "object", "additionalProperties": false, "properties": {"username": {"type": "string"}}}')`);
    await insert(aConfig({ processor_name: 'with_user_name', processor_config: { username: 'jo' } }));
  });

  test('with settings that its processor does not know is refused, and they are counted', async () => {
    const settings = { statement_descriptor: 'X', Statement_Descriptor: 'X', sk_live_as_a_key: 1 };
    expect(await refusal(insert(aConfig({ processor_config: settings })))).toEqual({
      code: '23514',
      constraint: NAME('settings_known'),
      message: 'the processor does not know 2 of the settings',
    });
  });

  test.each(['text', 1, true, null, [], [{ statement_descriptor: 'X' }]])(
    'whose settings are no object is refused: %j',
    async (settings) => {
      const row = aConfig();
      const inserted = database.query(
        `INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
         VALUES ($1, 'v1', 'stripe', $2)`,
        [row.restaurant_id, JSON.stringify(settings)],
      );
      expect(await refusal(inserted)).toMatchObject({ code: '23514', constraint: NAME('settings_object') });
    },
  );

  test('is refused by the guard before any other rule: it meets every not-null column, check and foreign key', async () => {
    const required = await database.query<{ name: string }>(
      `SELECT attname AS name FROM pg_attribute
       WHERE attrelid = 'restaurant_payment_configs'::regclass AND attnum > 0 AND attnotnull AND NOT attisdropped`,
    );
    expect(required.length).toBeGreaterThan(5);
    for (const { name } of required) {
      const { code, message } = await refusal(insert(aConfig({ [name]: null })));
      expect({ code, message }).toEqual({
        code: '23502',
        message: `a configuration version needs a value for ${name}`,
      });
    }
    const rules = await database.query<{ name: string }>(
      `SELECT conname AS name FROM pg_constraint
       WHERE conrelid = 'restaurant_payment_configs'::regclass AND contype IN ('c', 'f') ORDER BY 1`,
    );
    const wrong: Record<string, ConfigRow> = {
      [NAME('copy_of_fkey')]: { copy_of: 'v0' },
      [NAME('data_key_fkey')]: sealed(randomUUID()),
      [NAME('processor_fkey')]: { processor_name: 'paypal' },
      [NAME('sealed_whole')]: { data_key_id: dataKey },
    };
    expect(rules.map(({ name }) => name)).toEqual(Object.keys(wrong));
    for (const [constraint, row] of Object.entries(wrong)) {
      const error = await refusedBy(insert(aConfig(row)));
      expect(error).toMatchObject({ constraint, routine: 'exec_stmt_raise' });
      expect(error).not.toHaveProperty('detail', expect.anything());
    }
  });

  test.each<[string, (id: string) => ConfigRow, string]>([
    ['a part of what is sealed', (id) => ({ ...sealed(id), sealed_fields: null }), 'sealed_whole'],
    ['no data key', (id) => ({ ...sealed(id), data_key_id: null }), 'sealed_whole'],
    ['names of secrets alone', () => ({ sealed_fields: ['api_key'] }), 'sealed_whole'],
    [
      'another data key in its header',
      (id) => ({ ...sealed(id), sealed_secrets: sealedUnder(randomUUID()) }),
      'sealed_header',
    ],
    ['nothing in its header', (id) => ({ ...sealed(id), sealed_secrets: Buffer.alloc(0) }), 'sealed_header'],
    ['half a header', (id) => ({ ...sealed(id), sealed_secrets: sealedUnder(id).subarray(0, 9) }), 'sealed_header'],
    ['a sealed field that is no secret', (id) => sealed(id, ['statement_descriptor']), 'sealed_fields'],
    ['a sealed field of another processor', (id) => sealed(id, ['password']), 'sealed_fields'],
    ['a sealed field twice', (id) => sealed(id, ['api_key', 'api_key']), 'sealed_fields'],
    ['a sealed field without a name', (id) => ({ ...sealed(id), sealed_fields: ['api_key', null] }), 'sealed_fields'],
    ['somebody who has switched it off while it is on', () => ({ switched_off_by: 'jo' }), 'switched_off'],
  ])('that has %s is refused', async (_what, wrong, constraint) => {
    expect(await refusal(insert(aConfig(wrong(dataKey))))).toMatchObject({
      code: '23514',
      constraint: NAME(constraint),
    });
  });

  test('is no copy of a version of another restaurant, nor of itself', async () => {
    await insert(aConfig({ config_version: 'v7' }));
    for (const row of [{ copy_of: 'v7' }, { copy_of: 'v1' }]) {
      expect(await refusal(insert(aConfig(row)))).toMatchObject({ code: '23503', constraint: NAME('copy_of_fkey') });
    }
  });

  test('of a legacy service is taken under the replica role, as a subscriber receives it', async () => {
    const session = await database.connect();
    await session.query('SET session_replication_role = replica');
    await insertConfig(session, aConfig({ processor_config: { api_key: 'sk' } }));
    await session.end();
  });

  test('is looked at by our processors, and not by a temporary table of that name', async () => {
    const session = await database.connect();
    await session.query(`CREATE TEMPORARY TABLE processors (LIKE public.processors);
      INSERT INTO pg_temp.processors SELECT 'stripe', '{}', '{}', '{"properties": {"api_key": {}}}', now();
      SET search_path = pg_temp, public`);
    const inserted = insertConfig(session, aConfig({ processor_config: { api_key: 'sk' } }));
    expect(await refusal(inserted)).toMatchObject({ constraint: NAME('settings_not_secret') });
    await session.end();
  });
});

describe('a version that is there', () => {
  const IMMUTABLE = { code: '23514', constraint: NAME('version_immutable') };
  let dataKey: string;
  beforeAll(async () => (dataKey = await aDataKey(database)));
  const inserted = async (given: ConfigRow = {}) => {
    const row = aConfig({ updated_at: new Date('2026-01-01'), ...given });
    await insert(row);
    return row;
  };

  /** For each column something else than what a version of the tests has. */
  const OTHER: Record<string, string> = {
    restaurant_id: 'gen_random_uuid()',
    config_version: `'v9'`,
    processor_name: `'mock'`,
    processor_config: `'{"statement_descriptor": "OTHER"}'`,
    is_active: 'NOT is_active',
    created_at: `'epoch'`,
    created_by: `'ada'`,
    sealed_secrets: `'\\x01'`,
    sealed_fields: `'{webhook_secret}'`,
    data_key_id: 'gen_random_uuid()',
    switched_off_by: `'ada'`,
    copy_of: `'v1'`,
  };
  const columns = Object.keys(OTHER);

  test('has no column that these tests do not change', async () => {
    const rows = await database.query<{ name: string }>(
      `SELECT attname AS name FROM pg_attribute
       WHERE attrelid = 'restaurant_payment_configs'::regclass AND attnum > 0 AND NOT attisdropped`,
    );
    expect(rows.map(({ name }) => name).toSorted()).toEqual([...columns, 'updated_at'].toSorted());
  });

  test.each(columns)(
    'does not change in %s alone, to another value or to none, on or off, plain or sealed',
    async (column) => {
      for (const given of [{}, { is_active: false }, sealed(dataKey), { ...sealed(dataKey), is_active: false }]) {
        const row = await inserted({ created_by: 'jo', ...given });
        const isOn = !('is_active' in given);
        if (column !== 'is_active' || !isOn) {
          expect(await refusal(update(row, `${column} = ${OTHER[column]}`))).toMatchObject(IMMUTABLE);
        }
        const none = update(row, `${column} = NULL`);
        const isNull =
          ['copy_of', 'switched_off_by'].includes(column) ||
          (/sealed|data_key/.test(column) && !('data_key_id' in given));
        if (isNull) await none;
        else expect(await refusal(none)).toMatchObject(IMMUTABLE);
      }
    },
  );

  test('is switched off by somebody who is named, and the database says when', async () => {
    const row = await inserted();
    for (const change of ['is_active = false', `is_active = false, switched_off_by = ''`]) {
      expect(await refusal(update(row, change))).toMatchObject({ code: '23514', constraint: NAME('switched_off') });
    }
    const [changed] = await update(row, `is_active = false, switched_off_by = 'jo', updated_at = '1999-01-01'`);
    expect(changed).toMatchObject({ is_active: false, switched_off_by: 'jo' });
    expect((changed!.updated_at as Date).valueOf()).toBeGreaterThan(Date.parse('2026-01-02'));
  });

  test('has the times of the database, whatever its writer says', async () => {
    const row = await inserted({ created_at: new Date('2026-01-01') });
    const told = await database.query(
      `SELECT created_at = updated_at AS same, created_at > now() - interval '1 hour' AS now
       FROM restaurant_payment_configs WHERE restaurant_id = $1`,
      [row.restaurant_id],
    );
    expect(told).toEqual([{ same: true, now: true }]);
  });

  test('is never switched on again, by whatever it comes with', async () => {
    const row = await inserted();
    await update(row, `is_active = false, switched_off_by = 'jo'`);
    for (const change of [
      'is_active = true',
      'is_active = true, switched_off_by = NULL',
      `is_active = true, switched_off_by = 'jo', updated_at = now()`,
    ]) {
      expect(await refusal(update(row, change))).toMatchObject(IMMUTABLE);
    }
  });

  test('stays as it is where nothing changes, updated_at included', async () => {
    const row = await inserted();
    const [before] = await database.query<ConfigRow>(
      'SELECT updated_at FROM restaurant_payment_configs WHERE restaurant_id = $1',
      [row.restaurant_id],
    );
    const [same] = await update(row, `is_active = is_active, updated_at = 'epoch'`);
    expect(same).toMatchObject({ is_active: true, updated_at: before!.updated_at });
  });

  test.each(columns.filter((column) => !['is_active', 'switched_off_by'].includes(column)))(
    'is not changed in %s while it is switched off',
    async (column) => {
      const row = await inserted();
      const change = `is_active = false, switched_off_by = 'jo', ${column} = ${OTHER[column]}`;
      expect(await refusal(update(row, change))).toMatchObject(IMMUTABLE);
    },
  );

  describe('of a legacy service, whose secrets are among its settings,', () => {
    const PLAIN = { api_key: 'sk_1', webhook_secret: 'wh_1', statement_descriptor: 'X', made_up: { deep: 1 } };
    const FIELDS = ['api_key', 'webhook_secret'];
    const legacy = async (given: ConfigRow = {}) => {
      const row = aConfig({ processor_config: PLAIN, updated_at: new Date('2026-01-01'), ...given });
      await insertLegacyConfig(database, row);
      return row;
    };
    const SEAL = `sealed_secrets = $3, sealed_fields = $4, data_key_id = $5, processor_config = processor_config - $4::text[]`;
    const values = (fields: unknown = FIELDS, id = dataKey) => [sealedUnder(id), fields, id];

    test('has them sealed, on or off, whatever other settings it has, and nothing else of it changes', async () => {
      for (const is_active of [true, false]) {
        const row = await legacy({ is_active });
        const [before] = await update(row, 'is_active = is_active');
        const [after] = await update(row, `${SEAL}, updated_at = now()`, ...values());
        expect(after).toEqual({
          ...before,
          processor_config: { statement_descriptor: 'X', made_up: { deep: 1 } },
          sealed_secrets: expect.any(Buffer) as Buffer,
          sealed_fields: FIELDS,
          data_key_id: dataKey,
        });
      }
    });

    test('has none sealed where it has none', async () => {
      const row = await legacy({ processor_config: { made_up: 1 } });
      expect(await update(row, SEAL, ...values([]))).toHaveLength(1);
    });

    test.each(columns.filter((column) => !/sealed|data_key_id|processor_config/.test(column)))(
      'is not changed in %s while they are sealed',
      async (column) => {
        const row = await legacy({ created_by: 'jo' });
        expect(await refusal(update(row, `${SEAL}, ${column} = ${OTHER[column]}`, ...values()))).toMatchObject(
          IMMUTABLE,
        );
      },
    );

    const KEPT = `sealed_secrets = $3, sealed_fields = $4, data_key_id = $5`;
    test.each<[string, string, object | (() => unknown[]), string]>([
      ['left in the settings as well', KEPT, values, 'version_immutable'],
      [
        'sealed beside another setting',
        `${KEPT}, processor_config = '{"statement_descriptor": "Y", "made_up": {"deep": 1}}'`,
        values,
        'version_immutable',
      ],
      [
        'sealed beside a setting that is gone',
        `${KEPT}, processor_config = '{"statement_descriptor": "X"}'`,
        values,
        'version_immutable',
      ],
      ['sealed beside no settings', `${KEPT}, processor_config = NULL`, values, 'version_immutable'],
      ['sealed in part', SEAL, () => values(['api_key']), 'sealed_fields'],
      ['sealed with one that it does not have', SEAL, () => values([...FIELDS, 'stripe_api_key']), 'sealed_fields'],
      ['sealed with a setting that is no secret', SEAL, () => values([...FIELDS, 'made_up']), 'sealed_fields'],
      ['sealed under names that say nothing', SEAL, () => [sealedUnder(dataKey), null, dataKey], 'sealed_whole'],
      [
        'sealed under a key that its header does not name',
        SEAL,
        () => [sealedUnder(randomUUID()), FIELDS, dataKey],
        'sealed_header',
      ],
      ['sealed under a key that nobody has', SEAL, () => values(FIELDS, randomUUID()), 'data_key_fkey'],
    ])('does not have them %s', async (_what, change, given, constraint) => {
      const row = await legacy();
      const refused = update(row, change, ...(given as () => unknown[])());
      expect(await refusal(refused)).toMatchObject({ constraint: NAME(constraint) });
    });

    test('has them sealed once, and never unsealed', async () => {
      const row = await legacy();
      await update(row, SEAL, ...values());
      for (const change of [
        `sealed_secrets = decode('01', 'hex') || uuid_send(data_key_id)`,
        `sealed_secrets = NULL, sealed_fields = NULL, data_key_id = NULL`,
        `sealed_secrets = NULL, sealed_fields = NULL, data_key_id = NULL, processor_config = '${JSON.stringify(PLAIN)}'`,
      ]) {
        expect(await refusal(update(row, change))).toMatchObject(IMMUTABLE);
      }
      expect(await refusal(update(row, SEAL, ...values()))).toMatchObject(IMMUTABLE);
    });

    test('whose settings are no object is not sealed', async () => {
      for (const processor_config of [['api_key', 'webhook_secret'], 'api_key']) {
        const row = await legacy({ processor_config });
        const changed = update(row, `${KEPT}, processor_config = '[]'`, ...values());
        expect(await refusal(changed)).toMatchObject(IMMUTABLE);
      }
    });
  });

  test('under the replica role keeps the updated_at that it comes with, and changes no more than otherwise', async () => {
    const row = await inserted();
    const session = await database.connect();
    await session.query('SET session_replication_role = replica');
    const change = (sql: string) =>
      session.query<{ day: string }>(
        `UPDATE restaurant_payment_configs SET ${sql} WHERE restaurant_id = $1 RETURNING updated_at::date::text AS day`,
        [row.restaurant_id],
      );
    const off = await change(`is_active = false, switched_off_by = 'jo', updated_at = '2026-02-03Z'`);
    expect(off.rows).toEqual([{ day: '2026-02-03' }]);
    for (const sql of [`processor_config = '{"other": 1}'`, 'is_active = true']) {
      expect(await refusal(change(sql))).toMatchObject(IMMUTABLE);
    }
    await session.end();
  });
});

/** The error as the driver has it. */
const refusedBy = (statement: Promise<unknown>) =>
  statement.then(
    () => new Error('The database accepted it.'),
    (reason: unknown) => reason as Error,
  );
