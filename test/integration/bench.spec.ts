import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asMarkdown, writeMeasurements } from '../../bench/report/markdown';
import { judge, passed, type Results } from '../../bench/results';
import { ratios, spread } from '../../bench/statistics';

const ROOT = join(__dirname, '../..');

async function bench(...args: string[]): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 170_000,
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

  test('runs every comparison and leaves a table, JSON and a chart', async () => {
    const small = ['--rounds', '2', '--seconds', '0.02', '--connections', '4', '--earlier', '200'];
    const { exitCode, stdout, stderr } = await bench(...small, '--no-check', '--output', folder);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });

    const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Results;
    expect(results.conditions).toMatchObject({ postgres: expect.stringMatching(/^18\./) as string, connections: 4 });
    expect(results.comparisons.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['authorize', 'worker', 'growth']),
    );
    for (const { title, rows, bars } of results.comparisons) {
      expect(stdout).toContain(title);
      for (const row of rows) {
        expect(row.samples).toHaveLength(2);
        expect(row.perSecond.min).toBeGreaterThan(0);
        expect(stdout).toContain(row.title);
      }
      for (const bar of bars) expect(bar.cleared).toBe(bar.ratio.median >= bar.atLeast);
    }
    expect(readFileSync(join(folder, 'chart.svg'), 'utf8')).toMatch(/^<svg [^]*AuthRequests\.authorize[^]*<\/svg>\n$/);

    const document = join(folder, 'page.md');
    writeFileSync(document, 'before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n');
    writeMeasurements(document, results);
    const marked = `<!-- measured: begin -->\n\n${asMarkdown(results)}\n\n<!-- measured: end -->`;
    expect(readFileSync(document, 'utf8')).toBe(`before\n${marked}\nafter\n`);
  });

  test('refuses what it does not know', async () => {
    const { exitCode, stderr } = await bench('--only', 'authorise');
    expect(stderr).toContain('there is no comparison "authorise"');
    expect(exitCode).toBe(2);
  });
});

describe('a bar', () => {
  const bar = { of: 'ours', against: 'theirs', atLeast: 2, kind: 'required' } as const;
  const at = (median: number) => ({ median, min: median, max: median });

  test('is cleared at its height and missed below', () => {
    expect(judge(bar, at(2)).cleared).toBe(true);
    expect(judge(bar, at(1.99)).cleared).toBe(false);
  });

  test('that is missed fails the run, unless it is only reported', () => {
    expect(passed([{ bars: [judge(bar, at(2))] }, { bars: [] }])).toBe(true);
    expect(passed([{ bars: [judge(bar, at(2)), judge(bar, at(1))] }])).toBe(false);
    expect(passed([{ bars: [judge({ ...bar, kind: 'reported' }, at(1))] }])).toBe(true);
  });
});

test('samples come to their median and their ends, odd or even in number', () => {
  expect(spread([10, 9, 100])).toEqual({ median: 10, min: 9, max: 100 });
  expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(() => spread([])).toThrow(RangeError);
});

test('a ratio is taken within a round', () => {
  expect(ratios([10, 1], [5, 0.5])).toEqual([2, 2]);
});
