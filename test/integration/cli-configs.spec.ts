import { Readable } from 'node:stream';
import { v4 as uuidv4 } from 'uuid';
import { configsCommand } from '../../src/cli/commands/configs';
import { secretsCommand } from '../../src/cli/commands/secrets';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { aSecret, plainConfigs, TestKeyring } from '../support/configs/configs';
import { useTestDatabase } from '../support/database/use-test-database';
import { createProgram } from '../../src/cli/program';
import { cliHere, cliProcess, programHere } from '../support/processes/cli';

const database = useTestDatabase();
const keyring = new TestKeyring();
let dataSource: PaymentEventsDataSource;
let configs: RestaurantPaymentConfigs;

beforeAll(async () => {
  dataSource = await database.dataSource();
  configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
});
beforeEach(() => {
  process.env.PAYMENT_EVENTS_DB_KEYRING = keyring.path;
});
afterAll(() => {
  delete process.env.PAYMENT_EVENTS_DB_KEYRING;
});

const configsHere = (...args: string[]) => cliHere(database.url, configsCommand(), args);
const secretsHere = (...args: string[]) => cliHere(database.url, secretsCommand(), args);

/** With that on standard input. */
async function activate(restaurantId: string, input: string, ...args: string[]) {
  const stdin = jest.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([input]) as typeof process.stdin);
  try {
    return await configsHere(
      'activate',
      restaurantId,
      '--processor',
      'stripe',
      '--by',
      'kim',
      '--from-file',
      '-',
      ...args,
    );
  } finally {
    stdin.mockRestore();
  }
}

const document = (secret: string, settings = { statement_descriptor: 'ZOË' }) =>
  JSON.stringify({ settings, secrets: { api_key: secret } });

test('activate takes settings and secrets from standard input, and show and history tell all but the secrets', async () => {
  const [restaurantId, secret] = [uuidv4(), aSecret()];
  const activated = await activate(restaurantId, document(secret));
  expect(activated).toMatchObject({ stderr: '', exitCode: 0 });
  const [, version] = /^Version (\S+) is active\.\n$/.exec(activated.stdout)!;
  expect((await configs.getActive(restaurantId))!.secrets.api_key!.reveal()).toBe(secret);

  const shown = await configsHere('show', restaurantId);
  expect(shown.stdout).toContain(`Version    ${version}, active`);
  expect(shown.stdout).toContain('Secrets    api_key (sealed)');
  expect(shown.stdout).toContain('"statement_descriptor": "ZOË"');
  const history = await configsHere('history', restaurantId);
  expect(history.stdout).toMatch(
    new RegExp(`${version} +stripe +20\\S+Z +kim +– +– +– +statement_descriptor +api_key\n`),
  );
  for (const { stdout, stderr } of [activated, shown, history]) expect(stdout + stderr).not.toContain(secret);
});

test('show says what is in plain text, and what there is not', async () => {
  const restaurantId = uuidv4();
  await plainConfigs(database, [
    [
      restaurantId,
      {
        api_key: 'sk_test_plain',
        auth: [{ password: 'sk_test_plain' }],
        username: 'sk_test_plain',
        statement_descriptor: 'OLD',
      },
    ],
  ]);
  const shown = await configsHere('show', restaurantId);
  expect(shown.stdout).toContain('api_key (in plain text: npx payment-events-db secrets seal)');
  expect(shown.stdout).not.toContain('sk_test_plain');
  expect(await configsHere('show', restaurantId, '--json')).toMatchObject({
    stdout: expect.not.stringContaining('sk_test_plain') as string,
    exitCode: 0,
  });
  expect(await configsHere('show', uuidv4())).toMatchObject({ stdout: 'None is active.\n', exitCode: 1 });
  expect(await configsHere('show', restaurantId, '--config-version', 'v9')).toMatchObject({ exitCode: 1 });
});

test.each([
  ['no JSON', 'sk_test_SHOWN {', /must be JSON/],
  ['a secret that is no text', '{"secrets":{"api_key":["SHOWN"]}}', /the secrets texts/],
  ['another field', '{"secret":"SHOWN"}', /and nothing else/],
  ['a secret among the settings', '{"settings":{"api_key":"SHOWN"},"secrets":{}}', /api_key is a secret of stripe/],
])('activate refuses %s with 64, and quotes none of it', async (_what, input, message) => {
  const { stdout, stderr, exitCode } = await activate(uuidv4(), input);
  expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 64 });
  expect(stderr).toMatch(message);
  expect(stderr).not.toContain('SHOWN');
});

test('secrets come by standard input alone', async () => {
  const args = ['activate', uuidv4(), '--processor', 'stripe', '--by', 'kim', '--from-file', 'secrets.json'];
  expect(await configsHere(...args)).toMatchObject({
    stderr: expect.stringContaining('standard input alone') as string,
    exitCode: 64,
  });
});

test('without keys it says how to name them', async () => {
  delete process.env.PAYMENT_EVENTS_DB_KEYRING;
  const { stderr, exitCode } = await activate(uuidv4(), document(aSecret()));
  expect(exitCode).toBe(64);
  expect(stderr).toMatch(/PAYMENT_EVENTS_DB_KEYRING.*PAYMENT_EVENTS_DB_KMS_KEY_ID/s);
});

test('a conflict names the active version, and ends with 4', async () => {
  const restaurantId = uuidv4();
  const [first] = [
    JSON.parse((await activate(restaurantId, document(aSecret()), '--json')).stdout) as { configVersion: string },
  ];
  const late = await activate(restaurantId, document(aSecret()), '--expected-version', 'v1');
  expect(late).toMatchObject({ stdout: '', exitCode: 4 });
  expect(late.stderr).toContain(first.configVersion);
});

test('rollback and deactivate say what came of it', async () => {
  const restaurantId = uuidv4();
  const [one, two] = [
    (
      await configs.activate(
        restaurantId,
        { processorName: 'stripe', settings: {}, secrets: { api_key: 'a' } },
        { by: 'kim' },
      )
    ).configVersion,
    (
      await configs.activate(
        restaurantId,
        { processorName: 'stripe', settings: {}, secrets: { api_key: 'b' } },
        { by: 'kim' },
      )
    ).configVersion,
  ];
  const back = await configsHere('rollback', restaurantId, '--to', one, '--by', 'alex');
  expect(back.stdout).toMatch(new RegExp(`^Version \\S+ is active, and ${two} switched off\\.\n$`));
  expect((await configs.getActive(restaurantId))!.secrets.api_key!.reveal()).toBe('a');
  const off = await configsHere('deactivate', restaurantId, '--by', 'alex', '--json');
  expect(JSON.parse(off.stdout)).toEqual({ configVersion: expect.any(String) as string });
  expect(await configsHere('deactivate', restaurantId, '--by', 'alex')).toMatchObject({
    stdout: 'None was active.\n',
    exitCode: 0,
  });
  expect(await configsHere('rollback', restaurantId, '--to', 'v9', '--by', 'alex')).toMatchObject({ exitCode: 4 });
});

test('secrets seal says what it cannot undo, status counts what is left, rotate and add-key what they did', async () => {
  await plainConfigs(database, 3);
  const before = await secretsHere('status');
  expect(before).toMatchObject({ exitCode: 1 });
  expect(before.stdout).toMatch(/In plain text +\d+ versions: npx payment-events-db secrets seal\n/);
  const sealed = await secretsHere('seal');
  expect(sealed.stdout).toMatch(/^\d+ versions sealed; 0 versions left in plain text\.\n/);
  for (const place of ['dead rows', 'write-ahead log', 'backup', 'issue new keys'])
    expect(sealed.stdout).toContain(place);
  expect(await secretsHere()).toMatchObject({
    stdout: expect.stringMatching(/In plain text +0 versions\nElsewhere +1 version with secrets that cannot/) as string,
    exitCode: 1,
  });
  const added = await secretsHere('add-key', 'second', '--keyring', keyring.path);
  expect(added.stdout).toContain('has the key second now. Give it to every process');
  expect(await secretsHere('rotate', '--json')).toMatchObject({
    stdout: expect.stringContaining('"rewrapped":0') as string,
  });
  const activated = await secretsHere('activate-key', 'second', '--keyring', keyring.path);
  expect(activated.stdout).toContain('Key second is the active one');
  const rotated = await secretsHere('rotate', '--json');
  const { seen, rewrapped } = JSON.parse(rotated.stdout) as { seen: number; rewrapped: number };
  expect(seen).toBeGreaterThan(0);
  expect(rewrapped).toBe(seen);
});

test('as a process of its own it reads a pipe', async () => {
  const finished = await cliProcess(database.url, ['configs', 'show', uuidv4(), '--json']);
  expect(finished).toEqual({ stdout: 'null\n', stderr: '', exitCode: 1 });
});

test.each([
  [['configs', 'rollback', uuidv4(), '--to', 'v1', '--by', 'kim']],
  [['secrets', 'seal']],
  [['secrets', 'rotate']],
  [['secrets', 'add-key', 'first', '--keyring', '/nowhere/at/all.json']],
  [['secrets', 'activate-key', 'first', '--keyring', '/nowhere/at/all.json']],
])('under --json a failure is one line of JSON on standard error: %j', async (args) => {
  delete process.env.PAYMENT_EVENTS_DB_KEYRING;
  const { stdout, stderr, exitCode } = await programHere(createProgram(), [...args, '--json'], {
    DATABASE_URL: database.url,
  });
  expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 64 });
  expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'CONFIGURATION', exitCode: 64 } });
});
