import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { owns } from '../../src/fence/residue';
import { ROLES } from '../../src/grants/privileges';
import { readShardMap } from '../../src/shards/shard-map';
import { useTestDatabase } from '../support/database/use-test-database';
import { DocProject, promisedOutput } from '../support/docs/doc-code';
import { commandsIn, DocPage } from '../support/docs/doc-page';
import { PageShell } from '../support/docs/page-shell';

// Commands take seconds to start, and these start one for each database.
jest.setTimeout(300_000);

const PAGE = new DocPage('docs/how-to/start-with-shards.md');
const TWO = 'Two from the beginning';
const RESTAURANT = '00000000-0000-0000-0000-000000000001';

const [a, b, directory] = [
  useTestDatabase({ empty: true }),
  useTestDatabase({ empty: true }),
  useTestDatabase({ empty: true }),
];
const [code, nest] = PAGE.blocksOf('In code', 'ts') as [string, string];
const START = `
  import { NestFactory } from '@nestjs/core';
  import { Shards } from 'payment-events-db';
  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  console.log(app.get(Shards).map.shards.length);
  await app.close();`;
/** Roles belong to the whole server, which other files use as well. */
const PREFIX = `test_${randomBytes(4).toString('hex')}`;
let shell: PageShell;
let project: DocProject;

beforeAll(() => {
  shell = new PageShell(
    {},
    {
      'postgresql://db-a.internal/payments': a.url,
      'postgresql://db-b.internal/payments': b.url,
      'postgresql://directory.internal/payments_directory': directory.url,
      'grants --all': `grants --all --role-prefix ${PREFIX}`,
      'check --all': `check --all --role-prefix ${PREFIX}`,
    },
  );
  project = new DocProject({ code, started: `import 'reflect-metadata';\n${nest}${START}` });
});
afterAll(async () => {
  shell.remove();
  project.remove();
  const groups = ROLES.map((role) => `${PREFIX}_${role}`).join(', ');
  for (const database of [a, b]) await database.query(`DROP OWNED BY ${groups}`);
  await a.query(`DROP ROLE ${groups}`);
});

test('the page has no block that nothing here runs', () => {
  expect(PAGE.blocks.map(({ section, language }) => `${section}: ${language}`)).toEqual([
    'One database, with a map: json',
    ...[`${TWO}: json`, `${TWO}: bash`, `${TWO}: bash`, `${TWO}: bash`, `${TWO}: sh`],
    ...['In code: ts', 'In code: ts'],
    'Keep the map in a database: bash',
  ]);
});

test('both maps are maps', () => {
  const maps = PAGE.blocks
    .filter(({ language }) => language === 'json')
    .map(({ code }) => readShardMap(JSON.parse(code)));
  expect(maps.map(({ shards }) => shards.map(({ name }) => name))).toEqual([['a'], ['a', 'b']]);
});

test('the commands of the page make two empty databases a pair that is as the map says', async () => {
  const [map] = PAGE.blocksOf(TWO, 'json');
  const [read, make, sweep] = PAGE.blocksOf(TWO, 'bash') as [string, string, string];
  shell.write('shards.json', map!);
  expect(await shell.run(read)).toMatch(/^a +0 of 2 +0 .*\nb +1 of 2 +1 .*\nVersion 1\.$/m);
  const printed = await shell.run(make);
  expect(printed).toMatch(/a .*is to have class 0 of 2, number 0; has no fence/);
  expect(printed).toMatch(/b .*now has class 1 of 2, number 1/);
  expect(await shell.run(sweep)).toMatch(/^b +1 of 2 +0 done$/m);
});

// The test of all how-tos compiles it.
test('the code of the page does what it says at the database of the restaurant', async () => {
  const env = { PAYMENT_EVENTS_DB_SHARDS: join(shell.folder, 'shards.json') };
  expect(await project.run('code', env)).toEqual(promisedOutput(code));
  const [owner, other] = owns({ modulus: 2, remainder: 0 }, RESTAURANT) ? [a, b] : [b, a];
  const count = 'SELECT count(*)::integer AS requests FROM auth_request_state WHERE restaurant_id = $1';
  expect(await owner.query(count, [RESTAURANT])).toEqual([{ requests: 1 }]);
  expect(await other.query(count, [RESTAURANT])).toEqual([{ requests: 0 }]);
});

test('the module of the page starts an application that knows the map', async () => {
  const env = { PAYMENT_EVENTS_DB_SHARDS: join(shell.folder, 'shards.json') };
  expect(await project.run('started', env)).toEqual(['2']);
});

test('a map is published in the directory database, and without passwords alone', async () => {
  const [publish] = PAGE.blocksOf('Keep the map in a database', 'bash');
  expect(commandsIn(publish!)).toHaveLength(1);
  const map = JSON.parse(readFileSync(join(shell.folder, 'shards.json'), 'utf8')) as { shards: { url: string }[] };
  await expect(shell.run(publish!)).rejects.toThrow('password');
  for (const shard of map.shards) {
    const url = new URL(shard.url);
    url.password = '';
    shard.url = url.href;
  }
  shell.write('shards.json', JSON.stringify(map));
  expect(await shell.run(publish!)).toBe('Published version 1.\n');
});
