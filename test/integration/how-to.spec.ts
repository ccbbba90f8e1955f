import { readdirSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { codeBlocks, DocProject, promisedOutput } from '../support/docs/doc-code';
import { TestKeyring } from '../support/configs/configs';
import { DocPage } from '../support/docs/doc-page';
import { useTestDatabase } from '../support/database/use-test-database';

/** The tests of the pooler, those of NestJS, of shards and in test runners run the code of their page. */
const TESTED_ELSEWHERE = ['pgbouncer', 'start-with-shards', 'test-your-service', 'use-in-nestjs'];
/** The code of some needs a broker or a replica: the tests of the publishers and of replicas run it. */
const isRunElsewhere = (page: string) => page.startsWith('publish-to-') || page === 'read-from-replicas';

/** What a page has its reader do in SQL before its code runs. */
const PREPARED: Record<string, string> = {
  'onboard-a-processor': new DocPage('docs/how-to/onboard-a-processor.md').blocksOf('Insert its row', 'sql').join('\n'),
};

const pages = readdirSync(resolve(__dirname, '../../docs/how-to'))
  .map((file) => basename(file, '.md'))
  .filter((page) => !TESTED_ELSEWHERE.includes(page))
  .map((page) => ({ page, code: codeBlocks(`docs/how-to/${page}.md`, 'ts') }))
  .filter(({ code }) => code !== '');
/** Programs of their own each, which the test of their page runs. */
const [shards, shardsInNest] = new DocPage('docs/how-to/start-with-shards.md').blocksOf('In code', 'ts') as [
  string,
  string,
];
const project = new DocProject({
  ...Object.fromEntries(pages.map(({ page, code }) => [page, code])),
  ...{ shards, shardsInNest },
});
const keyring = new TestKeyring();
afterAll(() => project.remove());

it('the code of every how-to compiles under strict settings', async () => {
  expect(await project.typecheck()).toBe('');
});

it.each(pages)('how-to $page prints no error as a whole: its cause may hold an address and a password', ({ code }) => {
  expect(code.split('\n').filter((line) => /console\.\w+\((.*, )?error\)/.test(line))).toEqual([]);
});

describe.each(pages.filter(({ page }) => !isRunElsewhere(page)))('how-to $page', ({ page, code }) => {
  const database = useTestDatabase();

  it('runs and prints what it says', async () => {
    expect(promisedOutput(code).length).toBeGreaterThan(0);
    if (PREPARED[page]) await database.query(PREPARED[page]);
    const env = { DATABASE_URL: database.url, PAYMENT_EVENTS_DB_KEYRING: keyring.path };
    expect(await project.run(page, env)).toEqual(promisedOutput(code));
  });
});
