import { readdirSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { codeBlocks, DocProject, promisedOutput } from '../support/doc-code';
import { useTestDatabase } from '../support/use-test-database';

jest.setTimeout(120_000);

/** Pages whose code needs a broker or a pooler are run by the tests of these. */
const RUN_ELSEWHERE = ['publish-to-sqs', 'publish-to-amqp', 'pgbouncer'];

const pages = readdirSync(resolve(__dirname, '../../docs/how-to'))
  .map((file) => basename(file, '.md'))
  .filter((page) => !RUN_ELSEWHERE.includes(page))
  .map((page) => ({ page, code: codeBlocks(`docs/how-to/${page}.md`, 'ts') }))
  .filter(({ code }) => code !== '');
const project = new DocProject(Object.fromEntries(pages.map(({ page, code }) => [page, code])));
afterAll(() => project.remove());

it('the code of every how-to compiles under strict settings', async () => {
  expect(await project.typecheck()).toBe('');
});

describe.each(pages)('how-to $page', ({ page, code }) => {
  const database = useTestDatabase();

  it('runs and prints what it says', async () => {
    expect(promisedOutput(code).length).toBeGreaterThan(0);
    expect(await project.run(page, { DATABASE_URL: database.url })).toEqual(promisedOutput(code));
  });
});
