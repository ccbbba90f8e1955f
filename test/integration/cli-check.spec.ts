import { checkCommand } from '../../src/cli/commands/check';
import { cliHere, cliProcess } from '../support/processes/cli';
import { useTestDatabase } from '../support/database/use-test-database';

describe('payment-events-db check', () => {
  const database = useTestDatabase();
  const args = (...more: string[]) => ['--role-prefix', database.name, ...more];
  const here = (...more: string[]) => cliHere(database.url, checkCommand(), args(...more));

  test('ends with 0 on a database as the migrations made it', async () => {
    const clean = { stdout: 'The schema is that of the newest migration.\n', stderr: '', exitCode: 0 };
    expect(await cliProcess(database.url, ['check', ...args()])).toEqual(clean);
    expect(JSON.parse((await here('--json')).stdout)).toEqual({
      ...{ kind: 'summary', comparedWith: 'the newest migration', differing: 0 },
    });
  });

  test('ends with 1 and prints what a restore with --disable-triggers leaves', async () => {
    await database.query('ALTER TABLE restaurant_payment_configs DISABLE TRIGGER ALL, ENABLE TRIGGER ALL');
    const trigger =
      'trigger CREATE TRIGGER guard_restaurant_payment_configs BEFORE UPDATE ON restaurant_payment_configs ' +
      'FOR EACH ROW EXECUTE FUNCTION guard_restaurant_payment_configs() enabled';
    const object = 'table restaurant_payment_configs: trigger guard_restaurant_payment_configs';
    const [text, json] = await Promise.all([
      cliProcess(database.url, ['check', ...args()]),
      cliProcess(database.url, ['check', ...args('--json')]),
    ]);
    expect(text).toEqual({
      stdout:
        `different: ${object}\n  - ${trigger} always\n  + ${trigger}\n` +
        'The schema is not that of the newest migration (-): 1 object differs in the database (+).\n',
      stderr: '',
      exitCode: 1,
    });
    expect(
      json.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { kind: 'different', object, expected: `${trigger} always`, actual: trigger },
      { kind: 'summary', comparedWith: 'the newest migration', differing: 1 },
    ]);
    expect(json.exitCode).toBe(1);
  });

  test('ends with 64 on a prefix that is none, and with 4 where no migration has run', async () => {
    const malformed = await cliHere(database.url, checkCommand(), ['--role-prefix', 'No!']);
    expect(malformed).toMatchObject({
      exitCode: 64,
      stderr: expect.stringContaining('refix must be 1 to 50') as string,
    });
    const pending = { exitCode: 4, stderr: expect.stringContaining('lacks these migrations') as string };
    await database.query('TRUNCATE payment_events_db_migrations');
    expect(await here()).toMatchObject(pending);
  });
});
