import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v4 as uuidv4 } from 'uuid';
import { type ConfigContent } from '../../../src/configs/activate';
import { type KeyProvider } from '../../../src/configs/key-provider';
import { activateKey, addKey, newKeyring } from '../../../src/configs/keyring-file';
import { readKeyring } from '../../../src/configs/local-keyring';
import { type DatabaseOfFile } from '../database/use-test-database';

/** A keyring in a file of its own, which is gone after the tests of the file. */
export class TestKeyring {
  readonly #folder = mkdtempSync(join(tmpdir(), 'keyring-'));
  readonly path = join(this.#folder, 'keyring.json');

  constructor() {
    beforeAll(() => newKeyring(this.path, 'first'));
    afterAll(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /** Adds a key and has it wrap. */
  async add(name: string): Promise<void> {
    await addKey(this.path, name);
    await activateKey(this.path, name);
  }

  /** What somebody does who thinks that it is not needed any more. */
  drop(name: string): void {
    const keyring = JSON.parse(readFileSync(this.path, 'utf8')) as { keys: Record<string, string> };
    delete keyring.keys[name];
    writeFileSync(this.path, JSON.stringify(keyring));
  }

  /** As a process reads it now. */
  async keys(): Promise<KeyProvider> {
    return await readKeyring(this.path);
  }
}

/** A secret that nothing else has in it. */
export const aSecret = () => `sk_test_${uuidv4()}`;

export const aConfig = (changes: Partial<ConfigContent> = {}): ConfigContent => ({
  processorName: 'stripe',
  settings: { statement_descriptor: 'TRATTORIA ZOË' },
  secrets: { api_key: aSecret() },
  ...changes,
});

/**
 * Versions with plain secrets, as they were before there were seals: so many, or these.
 *
 * @returns the secret of each restaurant
 */
export async function plainConfigs(
  database: Pick<DatabaseOfFile, 'query'>,
  given: number | [restaurantId: string, config: object][],
): Promise<[restaurantId: string, secret: string][]> {
  const configs =
    typeof given === 'number'
      ? Array.from({ length: given }, (): [string, { api_key: string }] => [uuidv4(), { api_key: aSecret() }])
      : given;
  // The guard of new versions refuses plain secrets. It is one of the triggers that replicas leave out.
  await database.query(`
    BEGIN; SET LOCAL session_replication_role = replica;
    INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
    VALUES ${configs.map(([id, config]) => `('${id}', 'v1', 'stripe', '${JSON.stringify(config)}')`).join(', ')};
    COMMIT`);
  return configs.map(([restaurantId, config]) => [restaurantId, (config as { api_key: string }).api_key]);
}
