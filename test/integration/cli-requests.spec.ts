import { type DataSource } from 'typeorm';
import { requestsCommand } from '../../src/cli/commands/requests';
import { createProgram } from '../../src/cli/program';
import { anAuthorization, aRequest } from '../support/requests/auth-requests';
import { cliHere, cliProcess, programHere } from '../support/processes/cli';
import { codeBlocks } from '../support/docs/doc-code';
import { commandsIn } from '../support/docs/doc-page';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
let dataSource: DataSource;
let [pending, unanswered, forgotten] = ['', '', ''];

const here = (args: string[], url = database.url) => cliHere(url, requestsCommand(), args);

test('without any, both say so and end with 0', async () => {
  expect(await here(['stuck'])).toEqual({ stdout: 'No request is stuck.\n', stderr: '', exitCode: 0 });
  expect(await here(['unsettled'])).toEqual({ stdout: 'No request is unsettled.\n', stderr: '', exitCode: 0 });
  expect(await here(['stuck', '--json'])).toEqual({ stdout: '', stderr: '', exitCode: 0 });
});

describe('where there are some', () => {
  beforeAll(async () => {
    await roles.setUp();
    dataSource = await database.dataSource();
    pending = (await aRequest(dataSource)).authRequestId;
    unanswered = (await aRequest(dataSource, { started: true })).authRequestId;
    forgotten = (await aRequest(dataSource, { started: true })).authRequestId;
    await database.query(
      `ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state;
       UPDATE auth_request_state SET created_at = now() - interval '3 days' WHERE auth_request_id = '${forgotten}';
       UPDATE auth_request_state SET created_at = now() - interval '20 minutes' WHERE auth_request_id = '${unanswered}';
       UPDATE auth_request_state SET unanswered_since = now() - interval '3 days' WHERE auth_request_id = '${forgotten}';
       ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`,
    );
  });

  /** The first column, without its heading. */
  const ids = (stdout: string) => stdout.match(/^[0-9a-f-]{36}/gm);

  test('stuck lists those older than ten minutes, or as told, the oldest first, and ends with 1', async () => {
    const { stdout, stderr, exitCode } = await here(['stuck']);
    expect(stdout).toMatch(/^request +restaurant +status +attempt open +retries +sent again +created +changed\n/);
    expect(ids(stdout)).toEqual([forgotten, unanswered]);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 1 });
    expect(ids((await here(['stuck', '--older-than', '0'])).stdout)).toEqual([forgotten, unanswered, pending]);
    expect(ids((await here(['stuck', '--older-than', '0', '--within', '1'])).stdout)).toEqual([unanswered, pending]);
    const one = await here(['stuck', '--limit', '1']);
    expect(ids(one.stdout)).toEqual([forgotten]);
    const [, after] = /\nAt most 1 are listed\. Those after them: --after (\S+)\n$/.exec(one.stdout)!;
    expect(ids((await here(['stuck', '--after', after!])).stdout)).toEqual([unanswered]);
    const unsettled = (await here(['unsettled', '--limit', '1'])).stdout;
    const [, next] = / --after (\S+)\n$/.exec(unsettled)!;
    expect(ids((await here(['unsettled', '--after', next!])).stdout)).toEqual([forgotten]);
  });

  test('unsettled says of each whether the processor can be asked, and what to do', async () => {
    const { stdout, exitCode } = await here(['unsettled']);
    expect(ids(stdout)).toEqual([unanswered, forgotten]);
    expect(stdout).toMatch(/ v1 +0 +yes +send it to a worker: startAttempt\n/);
    expect(stdout).toMatch(/ v1 +0 +no +look at the processor, release what it holds: closeUnanswered\n/);
    expect(exitCode).toBe(1);
  });

  test('--json prints one object a line, without tokens, and ends with 1', async () => {
    const { stdout, exitCode } = await cliProcess(database.url, ['requests', 'unsettled', '--json']);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { authRequestId: unanswered, status: 'PROCESSING', unansweredVersions: ['v1'], canBeAsked: true },
      { authRequestId: forgotten, canBeAsked: false },
    ]);
    expect(stdout).not.toContain('pt_test');
    expect(exitCode).toBe(1);
  });

  test('the read-only role may ask both', async () => {
    const url = roles.url('readonly');
    expect(ids((await here(['stuck'], url)).stdout)).toEqual([forgotten, unanswered]);
    expect(ids((await here(['unsettled'], url)).stdout)).toEqual([unanswered, forgotten]);
  });

  test('options that make no sense end with 64', async () => {
    for (const args of [
      ['stuck', '--older-than', '-1'],
      ['stuck', '--older-than', '60', '--within', '1'],
      ['unsettled', '--limit', '0'],
      ['unsettled', '--limit', 'all'],
      ['stuck', '--after', 'forgotten'],
      [],
    ]) {
      expect({ args, exitCode: (await here(args)).exitCode }).toEqual({ args, exitCode: 64 });
    }
  });
});

test('the commands of the page "Find requests" do what they are there for', async () => {
  const { requests, authRequestId, lease } = await aRequest(dataSource, { started: true });
  await requests.recordAuthorized(lease, anAuthorization({ processorAuthId: 'pi_3OqFbW2eZvKYlo2C' }));
  const commands = commandsIn(codeBlocks('docs/how-to/find-requests.md', 'bash'));
  const promised = [
    [/ stuck /, /^request +restaurant +status/, 1],
    [/ unsettled /, /^request +restaurant +status/, 1],
    [/ inspect 0199/, new RegExp(`^${authRequestId}  AUTHORIZED`), 0],
    [/ inspect pi_/, new RegExp(`^${authRequestId}  AUTHORIZED`), 0],
    [/ --json$/, new RegExp(`^{"authRequestId":"${authRequestId}"`), 0],
  ] as const;
  const env = { DATABASE_URL: database.url };
  const finished = [];
  for (const command of commands) {
    const [npx, tool, ...args] = command.replace(/0199f1e2-\S+/, authRequestId).split(' ');
    expect([npx, tool]).toEqual(['npx', 'payment-events-db']);
    finished.push({ command, ...(await programHere(createProgram(), args, env)) });
  }
  expect(finished).toEqual(
    promised.map(([command, stdout, exitCode]) => ({
      command: expect.stringMatching(command) as string,
      stdout: expect.stringMatching(stdout) as string,
      ...{ stderr: '', exitCode },
    })),
  );
});
