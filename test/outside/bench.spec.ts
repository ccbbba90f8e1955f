import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asMarkdown, writeMeasurements } from '../../bench/report/markdown';
import { type Results } from '../../bench/results';
import { OPERATIONS } from '../../bench/scale/operations';
import { ARMS, type ScaleResults, sizeOf } from '../../bench/scale/results';
import { commandsIn, DocPage } from '../support/docs/doc-page';

const ROOT = join(__dirname, '../..');
/** It is much to do, and measures nothing here: a machine that others load may take its time. */
const TIMEOUT_MS = 600_000;
const COMPARISONS = [
  'authorize',
  'open-loop',
  'worker',
  'wait',
  'growth',
  'enqueue',
  'relay',
  'checks',
  'card-numbers',
];

async function bench(...args: string[]): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const exitCode = await new Promise<number | null>((done, failed) => child.once('close', done).once('error', failed));
  return { exitCode, ...output };
}

describe('the benchmark', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test(
    'runs every comparison and leaves a table, JSON and a chart that is read without it',
    async () => {
      const small = ['--seconds', '0.02', '--connections', '4', '--callers', '2,4', '--earlier', '200'];
      const all = ['--quick', '--only', COMPARISONS.join(), '--no-check', '--output', folder];
      const { exitCode, stdout, stderr } = await bench(...all, ...small);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.anything() as string });

      const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Results;
      const chart = readFileSync(join(folder, 'chart.svg'), 'utf8');
      expect(results.conditions).toMatchObject({ postgres: expect.stringMatching(/^18\./) as string, connections: 4 });
      expect(results.comparisons.map(({ name }) => name)).toEqual(COMPARISONS);
      for (const { title, unit, rows, bars } of results.comparisons) {
        for (const text of [title, ...rows.map((row) => row.title), ...bars.map((bar) => bar.title)])
          expect(stdout).toContain(text);
        for (const text of [title, `${unit} a second`, ...rows.flatMap((row) => [row.title, row.under])])
          expect(chart).toContain(`>${text}`);
        for (const { perSecond, samples } of rows) {
          expect(samples).toHaveLength(2);
          expect(perSecond.min).toBeGreaterThan(0);
        }
        expect(rows.some(({ isOurs }) => isOurs)).toBe(true);
      }
      expect(chart).toMatch(/^<svg [^]*>this package<[^]*p99 [\d.]+ ms<[^]*<\/svg>\n$/);
      const authorize = results.comparisons[0]!.rows.filter(({ name }) => name === 'coalesced');
      expect(authorize.map(({ under }) => under)).toEqual(['1 caller', '2 callers', '4 callers']);
      for (const { p50, p99 } of authorize) expect(p99!.median).toBeGreaterThanOrEqual(p50!.median);

      const document = join(folder, 'page.md');
      const page = (second: string) =>
        `<!-- machine 1: begin -->\none\n<!-- machine 1: end -->\n<!-- machine 2: begin -->${second}<!-- machine 2: end -->\n`;
      writeFileSync(document, page('\nold\n'));
      writeMeasurements(document, 2, results);
      expect(readFileSync(document, 'utf8')).toBe(page(`\n\n${asMarkdown(results, 2)}\n\n`));
    },
    TIMEOUT_MS,
  );

  test(
    'with --scale measures operations on one database and on four, and computes what more carry',
    async () => {
      const args = ['--scale', '--quick', '--requests', '10', '--output', folder];
      const { exitCode, stdout, stderr } = await bench(...args, '--no-check', '--assume', 'cores=8');
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.anything() as string });
      const { costs, conditions } = JSON.parse(readFileSync(join(folder, 'scale.json'), 'utf8')) as ScaleResults;
      expect(conditions).toMatchObject({ rounds: 1, requests: 10, callers: 4 });
      for (const name of ARMS) {
        // Time is counted in ticks, and one operation alone may take less than one.
        const micros = OPERATIONS.map((operation) => costs[name][operation].serverMicros);
        expect(micros.reduce((sum, one) => sum + one)).toBeGreaterThan(0);
        for (const operation of OPERATIONS) {
          const cost = costs[name][operation];
          expect(cost.walBytes > 16 && sizeOf(cost) >= 0).toBe(operation !== 'get');
        }
      }
      expect(stdout).toMatch(/^ *`cores` +8 /m);
      expect(stdout).toMatch(/^ *1,024 +[\d,]+ \((CPU|WAL)\)/m);
      expect(readFileSync(join(folder, 'scale.svg'), 'utf8')).toMatch(/^<svg [^]*on each of four<[^]*<\/svg>\n$/);
    },
    TIMEOUT_MS,
  );

  test('the command of the page about scale computes from the results of before', async () => {
    const [command] = commandsIn(new DocPage('docs/explanation/scale.md').blocks[0]!.code);
    const [, args] = command!.split('npm run bench -- ');
    const { exitCode, stdout } = await bench(...args!.split(' '), '--output', folder);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^ *`looks` +10 /m);
  });

  test('with --scale ends with 1 where four need more by a tenth, also of results of before', async () => {
    const measured = join(folder, 'measured.json');
    const compute = async (results: ScaleResults) => {
      writeFileSync(measured, JSON.stringify(results));
      return await bench('--scale', '--measured', measured, '--output', folder);
    };
    const good = JSON.parse(readFileSync(join(ROOT, 'bench/scale/measured.json'), 'utf8')) as ScaleResults;
    expect(await compute(good)).toMatchObject({ exitCode: 0 });
    const cycle = { ...good.costs.four.cycle, walBytes: good.costs.one.cycle.walBytes * 1.2 };
    const bad = await compute({ ...good, costs: { ...good.costs, four: { ...good.costs.four, cycle } } });
    expect(bad.exitCode).toBe(1);
    expect(bad.stdout).toMatch(/cycle +WAL +1\.20 .*FAIL/);
  });

  test.each([
    [['--only', 'authorise'], 'there is no comparison "authorise"'],
    [['--callers', '16,some'], '--callers must be a number above 0'],
    [['--docs', '3'], '--docs must be 1 or 2'],
    [['--scale', '--assume', 'kores=3'], '--assume: there is no assumption "kores"'],
  ])('refuses %j', async (args, message) => {
    const { exitCode, stderr } = await bench(...args);
    expect(stderr).toContain(message);
    expect(exitCode).toBe(2);
  });
});
