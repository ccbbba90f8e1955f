import { readFileSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProgram } from '../../src/cli/program';
import { AuthRequests, WrongShardError } from '../../src';
import { requestIn } from '../../src/testing';
import { commandsIn, DocPage } from '../support/docs/doc-page';
import { runPageCommand } from '../support/docs/page-command';
import { cliProcess, type Finished, programHere } from '../support/processes/cli';
import { failureOf } from '../support/processes/within';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { aRestaurantOf, ODD } from '../support/shards/shards';
import { SplitPair, SplitServer } from '../support/shards/split-pair';

jest.setTimeout(180_000);

const PAGE = new DocPage('docs/how-to/split-a-shard.md');
const moves = aRestaurantOf(ODD);

let server: SplitServer;
let folder: string;
let pair: SplitPair;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  server = await SplitServer.start();
  folder = mkdtempSync(join(tmpdir(), 'split-'));
}, 120_000);
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server?.remove();
});

beforeEach(async () => {
  pair = await SplitPair.of({ source: await server.database(), target: await server.empty() });
  const map = join(folder, 'map.json');
  writeFileSync(map, JSON.stringify(pair.oldMap));
  env = {
    PAYMENT_EVENTS_DB_SHARDS: map,
    PAYMENT_EVENTS_DB_SPLIT_TO: pair.urls.target,
    DATABASE_URL: pair.urls.target,
  };
});
afterEach(() => pair.end());

/** `--shard` starts the program once more, and so needs it as a process. */
async function runProcess(command: string): Promise<Finished> {
  for (const [name, value] of Object.entries(env))
    jest.replaceProperty(process, 'env', { ...process.env, [name]: value });
  try {
    return await cliProcess(pair.urls.source, command.split(' ').slice(2));
  } finally {
    jest.restoreAllMocks();
  }
}

/** Every command of a section; each has to succeed. */
async function follow(section: string): Promise<Finished[]> {
  const words = { 'next-map.json': join(folder, 'next-map.json') };
  const finished: Finished[] = [];
  for (const code of PAGE.blocksOf(section, 'bash')) {
    for (const command of commandsIn(code).filter((line) => line.startsWith('npx '))) {
      const run = command.includes('--shard')
        ? await runProcess(command)
        : await runPageCommand(command, { env, words });
      if (run.exitCode) throw new Error(`${command}: ${run.stderr}`);
      finished.push(run);
    }
  }
  expect(finished.length).toBeGreaterThan(0);
  return finished;
}

test('the page, from a database to two: what is said is what happens', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await follow('1. Make the target');
  const [planned, , , subscribed] = await follow('2. Copy');
  expect(planned!.stdout).toMatch('CREATE PUBLICATION payment_events_split');
  expect(subscribed!.stdout).toMatch('next  cut-over');

  const [, cutOver] = await follow('3. Cut over');
  expect(cutOver!.stdout).toMatch('give all services the new map now');
  expect(
    await failureOf(new AuthRequests(pair.source).authorize(anAuthorizeCommand({ restaurantId: moves }))),
  ).toBeInstanceOf(WrongShardError);
  const next = join(folder, 'next-map.json');
  expect(statSync(next).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(next, 'utf8'))).toEqual(pair.newMap);
  renameSync(next, join(folder, 'map.json'));

  const [, status, verified] = await follow('4. Clean up');
  expect(status!.stdout).toMatch('done  clean-up');
  expect(verified!.stdout).toMatch('Left out 1 request');
  const found = await pair.target.query<unknown[]>('SELECT auth_request_id AS id FROM auth_request_state');
  expect(found).toEqual([{ id: authRequestId }]);
});

test('the page, back: the source has everything again', async () => {
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await follow('1. Make the target');
  const had = (await pair.rows()).source;
  await follow('2. Copy');
  await follow('3. Cut over');
  rmSync(join(folder, 'next-map.json'));
  await follow('Undo');
  expect((await pair.rows()).source).toEqual(had);
});

test('the page has no block that nothing here runs', () => {
  expect([...new Set(PAGE.blocks.map(({ section }) => section))]).toEqual([
    '1. Make the target',
    '2. Copy',
    '3. Cut over',
    '4. Clean up',
    'Undo',
    // clone-a-shard.spec.ts
    'Very large databases',
  ]);
});

const run = (...args: string[]) => programHere(createProgram(), ['shard', 'split', ...args], env);

test.each<[string, string[], Record<string, string | undefined>, number, string]>([
  [
    'a map',
    ['status', '--from', 'a', '--number', '1'],
    { PAYMENT_EVENTS_DB_SHARDS: '' },
    64,
    'PAYMENT_EVENTS_DB_SHARDS',
  ],
  ['a source of the map', ['status', '--from', 'c', '--number', '1'], {}, 64, 'It has: a.'],
  [
    'a target',
    ['status', '--from', 'a', '--number', '1'],
    { PAYMENT_EVENTS_DB_SPLIT_TO: '' },
    64,
    'PAYMENT_EVENTS_DB_SPLIT_TO',
  ],
  ['a number', ['status', '--from', 'a'], {}, 64, 'such as 1'],
  ['a number of its own', ['prepare', '--from', 'a', '--number', '0'], {}, 64, 'a has 0. Give one'],
])('without %s a step is refused, and says what it needs', async (_what, args, changes, exitCode, said) => {
  env = { ...env, ...changes };
  const finished = await run(...args);
  expect(finished).toMatchObject({ exitCode, stdout: '' });
  expect(finished.stderr).toMatch(said);
  expect(finished.stderr).not.toMatch(/not to be seen|not%20to/);
});

test('in JSON a step prints how far the split is, and a dry run the statements', async () => {
  await programHere(createProgram(), ['migrate'], env);
  const ends = ['--from', 'a', '--number', '1', '--json'];
  const { statements } = JSON.parse((await run('prepare', ...ends, '--dry-run')).stdout) as {
    statements: { at: string }[];
  };
  expect(new Set(statements.map(({ at }) => at))).toEqual(new Set(['target']));
  expect(JSON.parse((await run('run', ...ends)).stdout)).toMatchObject({
    done: ['prepare', 'publish', 'subscribe', 'cut-over'],
    next: 'switch',
    broken: null,
  });
  const refused = await run('clean-up', ...ends);
  expect(refused.exitCode).toBe(4);
  expect(JSON.parse(refused.stderr.trim().split('\n').at(-1)!)).toMatchObject({ error: { code: 'SPLIT_REFUSED' } });
});
