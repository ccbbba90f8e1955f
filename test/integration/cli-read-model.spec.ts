import { cliProcess } from '../support/processes/cli';
import { legacy, loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

const ids = legacy.broken.map(({ authRequestId }) => authRequestId).sort();
const contradicting = legacy.broken.find(({ kind }) => kind === 'status_contradicts_events')!;
const healthy = legacy.requests[0]!;

const database = useTestDatabase({ empty: true });

/** Runs it against this file's database or another. */
async function cli(args: string[], url = database.url, onStderr?: () => unknown) {
  const finished = await cliProcess(url, args, onStderr);
  expect(finished.stdout + finished.stderr).not.toContain('pt_');
  return finished;
}

const jsonLines = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('before the migrations have run', () => {
  test('verify says what to do first', async () => {
    const { stderr, exitCode } = await cli(['verify']);
    expect(stderr).toContain('npx payment-events-db migrate');
    expect(exitCode).toBe(4);
  });
});

describe('on legacy rows', () => {
  beforeAll(async () => {
    await loadLegacyDatabase(database);
    await new MigrationChain(database).upTo(LATEST_LEVEL);
  });

  test('verify prints a table of what differs and ends with 1', async () => {
    const { stdout, stderr, exitCode } = await cli(['verify']);
    expect(stdout).toMatch(
      new RegExp(
        `${contradicting.authRequestId}  the row differs from its events\n.*in the row +by its events\n +status +"AUTHORIZED" +"DENIED"\n`,
      ),
    );
    expect(stdout.match(/^[0-9a-f-]{36}/gm)).toEqual(ids);
    expect(stdout).toContain('has events, but no row');
    expect(stdout).toContain('Compared 153 requests: 3 differ.');
    expect(stderr).toBe('');
    expect(exitCode).toBe(1);
  });

  test('verify --json prints one object a line, the summary last', async () => {
    const { stdout, exitCode } = await cli(['verify', '--json']);
    const lines = jsonLines(stdout);
    expect(lines.slice(0, -1).map(({ authRequestId }) => authRequestId)).toEqual(ids);
    expect(lines).toContainEqual({
      authRequestId: contradicting.authRequestId,
      kind: 'row_differs',
      differences: [{ field: 'status', inRow: 'AUTHORIZED', byEvents: 'DENIED' }],
    });
    expect(lines.at(-1)).toEqual({ kind: 'summary', checked: 153, differing: 3, leftBehind: 0 });
    expect(exitCode).toBe(1);
  });

  test('verify of one request or one restaurant ends with 0 where nothing differs there', async () => {
    const clean = await cli(['verify', '--request', healthy.authRequestId]);
    expect(clean).toEqual({ stdout: 'Compared 1 request: none differs.\n', stderr: '', exitCode: 0 });
    const restaurant = await cli(['verify', '--restaurant', contradicting.restaurantId, '--json']);
    expect(jsonLines(restaurant.stdout)[0]).toMatchObject({ authRequestId: contradicting.authRequestId });
    expect(restaurant.exitCode).toBe(1);
  });

  test('a command line that makes no sense ends with 64 and the help', async () => {
    for (const args of [['verify', '--nonsense'], ['rebuild']]) {
      const { stderr, exitCode } = await cli(args);
      expect(stderr).toContain(`Usage: payment-events-db ${args[0]}`);
      expect(exitCode).toBe(64);
    }
    const notAnId = await cli(['verify', '--request', 'pt_x']);
    expect(notAnId.stderr).toContain('authRequestId must be a UUID');
    expect(notAnId.exitCode).toBe(64);
  });

  test('without a server it ends with 3, and refuses an unknown request with 4', async () => {
    const nowhere = Object.assign(new URL(database.url), { port: '1' }).href;
    expect((await cli(['verify'], nowhere)).exitCode).toBe(3);
    const unknown = '00000000-0000-4000-8000-000000000000';
    expect((await cli(['verify', '--request', unknown])).exitCode).toBe(4);
    expect((await cli(['rebuild', unknown])).exitCode).toBe(4);
  });

  test('rebuild --dry-run says what would change, and changes nothing', async () => {
    const { stdout, exitCode } = await cli([
      'rebuild',
      '--dry-run',
      contradicting.authRequestId,
      healthy.authRequestId,
    ]);
    expect(stdout).toMatch(/would be rebuilt\n.*before +by its events\n +status +"AUTHORIZED" +"DENIED"\n/);
    expect(stdout).toContain(`${healthy.authRequestId}  is right\n`);
    expect(exitCode).toBe(0);
    expect((await cli(['verify', '--request', contradicting.authRequestId])).exitCode).toBe(1);
  });

  test('rebuild repairs the requests named; then verify is clean and a second rebuild finds nothing to do', async () => {
    const rebuilt = await cli(['rebuild', '--json', ...ids]);
    expect(jsonLines(rebuilt.stdout).map(({ authRequestId }) => authRequestId)).toEqual(ids);
    expect(jsonLines(rebuilt.stdout)).toContainEqual({
      authRequestId: contradicting.authRequestId,
      outcome: 'replaced',
      differences: [{ field: 'status', inRow: 'AUTHORIZED', byEvents: 'DENIED' }],
    });
    expect(rebuilt.exitCode).toBe(0);
    expect(await cli(['verify'])).toMatchObject({ stdout: 'Compared 153 requests: none differs.\n', exitCode: 0 });
    const again = await cli(['rebuild', ...ids]);
    expect(again.stdout).toBe(ids.map((id) => `${id}  was right already\n`).join(''));
  });

  test('verify warns of money that a closed request may hold', async () => {
    const voided = legacy.requests.find(({ scenario }) => scenario === 'voided_authorized')!.authRequestId;
    await database.query(`ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state`);
    await database.query(`UPDATE auth_request_state SET status = 'AUTHORIZED' WHERE auth_request_id = $1`, [voided]);
    await database.query(`ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`);
    expect((await cli(['verify', '--request', voided])).stdout).toContain(
      'Make sure that the money is released first.',
    );
  });
});

test('verify says on stderr how far it is when it takes long', async () => {
  const blocker = await database.connect();
  await blocker.query('BEGIN; LOCK TABLE auth_request_state IN ACCESS EXCLUSIVE MODE');
  const { stdout, stderr } = await cli(['verify', '--json'], database.url, () => blocker.query('ROLLBACK'));
  expect(stderr).toContain('Compared 0 requests so far …');
  expect(jsonLines(stdout).at(-1)).toMatchObject({ kind: 'summary', checked: 153 });
});
