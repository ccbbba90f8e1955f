import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REPORTING_VIEWS } from '../../../src/reporting/views';
import { commandsIn, DocPage } from '../../support/docs/doc-page';
import { docTable } from '../../support/docs/doc-table';
import { runPageCommand } from '../../support/docs/page-command';
import { planOf, useReporting } from '../../support/reporting/reporting-world';
import { EVEN, mapOf, ODD } from '../../support/shards/shards';

const PAGE = new DocPage('docs/how-to/report-over-all-restaurants.md');
const world = useReporting();
const { a, b, reporting } = world;
const folder = mkdtempSync(join(tmpdir(), 'reports-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The page's names belong to the server: here each has the prefix of this file. */
const here = (text: string) =>
  text
    .replaceAll('payment_reports', reporting.name)
    .replace(/\breports_owner\b/g, `${world.prefix}_owner`)
    .replace(/\breports_reader\b/g, `${world.prefix}_page_reader`)
    .replace(/\bada\b/g, `${world.prefix}_ada`)
    .replace(/IN ROLE payment_events_reporting/g, `IN ROLE ${world.role}`);

const [exports_, [renew, status]] = (() => {
  const lines = PAGE.blocksOf('Set it up', 'bash').flatMap(commandsIn);
  return [lines.filter((line) => line.startsWith('export ')), lines.filter((line) => line.startsWith('npx '))];
})();

/** The variables of the page, with this file's values in the place of the page's addresses. */
const env = () => {
  const said = Object.fromEntries(
    exports_.map((line) => /^export (\w+)='?([^']*)'?$/.exec(line)!.slice(1) as [string, string]),
  );
  const map = join(folder, 'shards.json');
  writeFileSync(map, JSON.stringify(mapOf(1, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } })));
  const url = new URL(reporting.url);
  [url.username, url.password] = [here(new URL(said.PAYMENT_EVENTS_DB_REPORTING_URL!).username), 'test'];
  return {
    ...said,
    PAYMENT_EVENTS_DB_SHARDS: map,
    PAYMENT_EVENTS_DB_REPORTING_URL: url.href,
    PAYMENT_EVENTS_DB_REPORTING_READER: here(said.PAYMENT_EVENTS_DB_REPORTING_READER!),
    DATABASE_URL: a.url,
  };
};
const run = (command: string) => runPageCommand(`${command} --role-prefix ${world.prefix}`, { env: env() });

test('set up as on the page, by an owner who is no superuser, every database answers', async () => {
  const [database, reader, asker] = PAGE.blocksOf('Set it up', 'sql').map(here);
  await reporting.query(`CREATE ROLE ${world.prefix}_owner LOGIN CREATEROLE PASSWORD 'test'`);
  // The database is made already, and is given to its owner.
  const [create, connect, ...rest] = database!.split('\n');
  expect(create).toBe(`CREATE DATABASE ${reporting.name} OWNER ${world.prefix}_owner;`);
  expect(connect).toBe(`\\connect ${reporting.name}`);
  await reporting.query(`ALTER DATABASE ${reporting.name} OWNER TO ${world.prefix}_owner`);
  await reporting.query(rest.join('\n'));

  expect(Object.keys(env())).toEqual(expect.arrayContaining(exports_.map((line) => /export (\w+)/.exec(line)![1]!)));
  expect(await run(renew!)).toMatchObject({ exitCode: 0, stderr: '' });
  expect((await run(status!)).exitCode).toBe(1);
  await a.query(reader!);
  await reporting.query(asker!);
  expect(await run(status!)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('Reports are those of version 1') as string,
  });
});

test('the tables of the page are those that there are', () => {
  const rows = docTable('docs/how-to/report-over-all-restaurants.md', 'Ask');
  expect(rows.map(([name]) => name)).toEqual(REPORTING_VIEWS.map(({ name }) => name));
});

test('each query of the page answers, to somebody who asks as on the page', async () => {
  await world.authorize(a, EVEN, 2);
  await world.authorize(b, ODD, 1);
  const session = await world.as(reporting, `${world.prefix}_ada`, 'another');
  const [days, one, most, ...none] = PAGE.blocksOf('Ask', 'sql');
  expect(none).toEqual([]);
  expect((await session.query(days!)).rows).toMatchObject([{ currency: 'USD', requests: '3', cents: '301' }]);
  expect(await planOf(session, days!)).toMatch(/Async Foreign Scan/);
  expect((await session.query(one!)).rows).toEqual([]);
  expect((await planOf(session, one!)).match(/Foreign Scan/g)).toHaveLength(1);
  expect((await session.query(most!)).rows).toEqual([]);
  expect(await planOf(session, most!)).toMatch(/GROUP BY/);
  await session.end();
});

test.each(['After a split', 'Migrations'])(
  'the commands of "%s" run, with nothing to say against them',
  async (section) => {
    for (const command of PAGE.blocksOf(section, 'bash').flatMap(commandsIn)) {
      const isOurs = command.includes(' reporting ');
      const { exitCode, stderr } = isOurs ? await run(command) : await runPageCommand(command, { env: env() });
      expect({ command, exitCode, stderr }).toMatchObject({ command, exitCode: 0 });
    }
    if (section === 'Migrations') await run(renew!);
  },
);

test('what the page says of the commands that are wrong: the variable is named, and no value', async () => {
  const secret = 'hush-hush';
  const without = { ...env(), PAYMENT_EVENTS_DB_REPORTING_READER_PASSWORD: '' };
  expect(await runPageCommand(renew!, { env: without })).toMatchObject({
    exitCode: 64,
    stderr: expect.stringContaining('PAYMENT_EVENTS_DB_REPORTING_READER_PASSWORD must be set') as string,
  });
  const wrong = await runPageCommand(renew!, { env: { ...env(), PAYMENT_EVENTS_DB_REPORTING_URL: secret } });
  expect(wrong).toMatchObject({
    exitCode: 64,
    stderr: expect.stringContaining('PAYMENT_EVENTS_DB_REPORTING_URL must look like') as string,
  });
  expect(wrong.stderr).not.toContain(secret);
});

test.each(['renew', 'status', 'drop'])(
  'where a server is away, reporting %s --json says so in one line',
  async (name) => {
    const away = { ...env(), PAYMENT_EVENTS_DB_REPORTING_URL: 'postgresql://jo:hunter2@127.0.0.1:1/reports' };
    const { stdout, stderr, exitCode } = await runPageCommand(`npx payment-events-db reporting ${name} --json`, {
      env: away,
    });
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 3 });
    expect(JSON.parse(stderr.trimEnd().split('\n').at(-1)!)).toMatchObject({
      error: { code: 'DATABASE_UNAVAILABLE', exitCode: 3 },
    });
    expect(stderr).not.toContain('hunter2');
  },
);

test('without a map the reports are about the database of DATABASE_URL', async () => {
  const alone = { ...env(), PAYMENT_EVENTS_DB_SHARDS: '' };
  const { stdout, exitCode } = await runPageCommand(`${status!} --role-prefix ${world.prefix} --json`, { env: alone });
  expect(JSON.parse(stdout)).toMatchObject({ version: 1, shards: [{ shard: 'only', modulus: 1, remainder: 0 }] });
  expect(exitCode).toBe(1);
});

test('with --json each command prints what it has done', async () => {
  const json = async (command: string) => JSON.parse((await run(`${command} --json`)).stdout) as object;
  expect(await json(renew!)).toEqual({
    version: 1,
    shards: [
      { shard: 'a', ...EVEN, made: false },
      { shard: 'b', ...ODD, made: false },
    ],
  });
  expect(await json(status!)).toMatchObject({ current: true, madeBy: 1 });
  expect(await json('npx payment-events-db reporting drop')).toEqual({ views: ['a', 'b'], reportingTables: true });
});
