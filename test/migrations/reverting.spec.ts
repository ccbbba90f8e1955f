import { randomUUID } from 'node:crypto';
import { interceptQueries } from '../support/database/intercept-queries';
import { LATEST_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

const RESTAURANT = randomUUID();
const REQUEST = randomUUID();

const HOUSE_BANK = `
  INSERT INTO processors (processor_name, secret_fields, settings_schema)
  VALUES ('house_bank', '{pin}', '{"type": "object", "additionalProperties": false, "properties": {"branch": {}}}')`;

const CASES = [
  {
    rows: 'a message that was given up',
    migration: 'ExpandColumns',
    insert: `INSERT INTO outbox (id, aggregate_id, restaurant_id, message_type, payload, failed_at)
             VALUES (4711, '${REQUEST}', '${RESTAURANT}', 'auth_request_queued', '', now())`,
    names: 'failed or discarded outbox messages: id 4711.',
    remedy: 'DELETE FROM outbox WHERE id = 4711',
  },
  {
    rows: 'a message that was discarded',
    migration: 'ExpandColumns',
    insert: `INSERT INTO outbox (id, aggregate_id, restaurant_id, message_type, payload, processed_at,
               discarded_at, discarded_by, discard_reason)
             VALUES (4712, '${REQUEST}', '${RESTAURANT}', 'auth_request_queued', '', now(), now(), 'jo', 'test')`,
    names: 'failed or discarded outbox messages: id 4712.',
    remedy: 'DELETE FROM outbox WHERE id = 4712',
  },
  {
    rows: 'the idempotency key of a void',
    migration: 'ExpandColumns',
    insert: `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, operation)
             VALUES ('secret-key', '${RESTAURANT}', '${REQUEST}', 'void')`,
    names: `idempotency keys of other operations than authorize: void of request ${REQUEST}.`,
    remedy: `DELETE FROM auth_idempotency_keys WHERE operation <> 'authorize'`,
  },
  {
    rows: 'two versions of a configuration',
    migration: 'ContractKeysAndIndexes',
    insert: `INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config,
               is_active, created_at)
             VALUES ('${RESTAURANT}', 'v1', 'stripe', '{}', false, '2026-01-01'),
                    ('${RESTAURANT}', 'v2', 'chase', '{}', true, '2026-01-02')`,
    names: `these have more: ${RESTAURANT} (v1, v2).`,
    remedy: `DELETE FROM restaurant_payment_configs WHERE config_version = 'v1'`,
  },
  {
    rows: 'an event',
    migration: 'LegacySchema',
    insert: `INSERT INTO payment_events (aggregate_id, restaurant_id, aggregate_type, event_type, event_data,
               metadata, sequence_number)
             VALUES ('${REQUEST}', '${RESTAURANT}', 'auth_request', 'AuthRequestCreated', '', '{}', 1)`,
    names: 'the events in payment_events',
    remedy: 'TRUNCATE payment_events',
  },
  {
    rows: 'a restaurant configured for the mock processor',
    migration: 'LegacyMockProcessor',
    insert: `INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
             VALUES ('${RESTAURANT}', 'v1', 'mock', '{}')`,
    names: `restaurants configured for the mock processor: ${RESTAURANT}.`,
    remedy: `UPDATE restaurant_payment_configs SET processor_name = 'stripe'`,
  },
  {
    rows: 'a restaurant configured for a processor of its own',
    migration: 'AddProcessors',
    insert: `${HOUSE_BANK};
             INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
             VALUES ('${RESTAURANT}', 'v1', 'house_bank', '{"branch": "secret-key"}')`,
    names: `are configured for another processor: ${RESTAURANT} (house_bank).`,
    remedy: `DELETE FROM restaurant_payment_configs; DELETE FROM processors WHERE processor_name = 'house_bank'`,
  },
  {
    rows: 'a processor of its own that nobody is configured for',
    migration: 'AddProcessors',
    insert: HOUSE_BANK,
    names: 'these rows of processors: house_bank.',
    remedy: `DELETE FROM processors WHERE processor_name = 'house_bank'`,
  },
  {
    rows: 'a configuration whose secrets are sealed',
    migration: 'AddConfigSecrets',
    insert: `INSERT INTO data_keys (data_key_id, key_encryption_key_id, wrapped) VALUES ('${REQUEST}', 'k', 'secret-key');
             INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config,
               sealed_secrets, sealed_fields, data_key_id)
             SELECT '${RESTAURANT}', version, 'stripe', '{}', decode('01', 'hex') || uuid_send('${REQUEST}'), '{api_key}', '${REQUEST}'
             FROM unnest('{v1}'::text[]) AS version`,
    names: 'the secrets of 1 configuration versions are sealed. SQL cannot unseal them',
    remedy: 'DELETE FROM restaurant_payment_configs',
  },
];

describe.each(CASES)('$rows, which the schema below $migration has no place for', (loss) => {
  const database = useTestDatabase();
  const chain = () => new MigrationChain(database);
  const below = levelOf(loss.migration) - 1;

  beforeAll(async () => {
    await database.query(loss.insert);
    await chain().downTo(below + 1);
  });

  test('stops the revert, which names the rows and leaves everything as it was', async () => {
    const before = { catalog: await chain().catalog(), rows: await chain().rows() };
    const { message } = await refusal(chain().downTo(below));
    expect(message).toMatch(/^Cannot go back: /);
    expect(message).toContain(loss.names);
    expect(message).toContain('then revert again');
    expect(message).not.toContain('secret-key');
    expect({ catalog: await chain().catalog(), rows: await chain().rows() }).toEqual(before);
  });

  test('lets the revert go on once the remedy is applied, and the chain comes up again', async () => {
    const { catalog, message } = { catalog: await chain().catalog(), ...(await refusal(chain().downTo(below))) };
    expect(message).toMatch(/[Dd]elete|another processor/);
    await database.query(loss.remedy);
    await chain().downTo(below);
    await chain().upTo(below + 1);
    expect(await chain().catalog()).toBe(catalog);
    await chain().upTo(LATEST_LEVEL);
  });
});

describe('a message that is given up while the revert is looking for such rows', () => {
  const database = useTestDatabase();

  test('is refused, so that it is not lost', async () => {
    const level = levelOf('ExpandColumns');
    const chain = new MigrationChain(database);
    await chain.downTo(level);
    const giveUp = `INSERT INTO outbox (aggregate_id, message_type, payload, failed_at)
                    VALUES ('${REQUEST}', 'auth_request_queued', '', now())`;
    const withKey = `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, operation)
                     VALUES ('key', '${RESTAURANT}', '${REQUEST}', 'void')`;
    const refusals = await chain.byHand(level, async (migration, queryRunner) => {
      const seen: unknown[] = [];
      const writeMeanwhile = async (sql: string, send: () => Promise<unknown>) => {
        if (/^\s*DO/.test(sql)) {
          seen.push((await refusal(database.query(giveUp))).constraint);
          seen.push((await refusal(database.query(withKey))).constraint);
        }
        return send();
      };
      await interceptQueries(queryRunner, writeMeanwhile, () => migration.down(queryRunner));
      return seen;
    });
    expect(refusals).toEqual(['outbox_reverting', 'auth_idempotency_keys_reverting']);
  });
});
