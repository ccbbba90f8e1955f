import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import manifest from '../../package.json';
import { problemsOfRelease } from '../../scripts/support/check-release';
import { POSTGRES_VERSIONS } from '../../src/testing';

const ROOT = join(__dirname, '../..');
const FOLDER = join(ROOT, '.github/workflows');

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
}
interface Job {
  uses?: string;
  needs?: string;
  permissions?: Record<string, string>;
  strategy?: { matrix: Record<string, number[]> };
  steps?: Step[];
  'timeout-minutes'?: number;
}
interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  concurrency: { group: string };
  jobs: Record<string, Job>;
}

const workflows = Object.fromEntries(
  readdirSync(FOLDER).map((file) => [file, parse(readFileSync(join(FOLDER, file), 'utf8')) as Workflow]),
);
const [ci, release] = [workflows['ci.yml']!, workflows['release.yml']!];
const commandsOf = ({ steps = [] }: Job) => steps.flatMap(({ run }) => run ?? []);

describe.each(Object.entries(workflows))('%s', (_file, workflow) => {
  const jobs = Object.values(workflow.jobs);
  const steps = jobs.flatMap((job) => job.steps ?? []);

  test('may read, and write nothing', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' });
    for (const { permissions = {} } of jobs) {
      expect(Object.entries(permissions).filter(([name, right]) => right === 'write' && name !== 'id-token')).toEqual(
        [],
      );
    }
  });

  test('runs actions by their commit, since a tag may be moved, and says which version that is', () => {
    const text = Object.entries(workflows)
      .map(([file]) => readFileSync(join(FOLDER, file), 'utf8'))
      .join('');
    for (const { uses } of steps.filter((step) => step.uses)) {
      expect(uses).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
      expect(text).toMatch(new RegExp(`${uses} # v\\d+\\.\\d+\\.\\d+$`, 'm'));
    }
  });

  test('ends by itself where a job hangs, and does not run beside itself', () => {
    for (const job of jobs) expect(job.uses ?? job['timeout-minutes']).toBeDefined();
    expect(workflow.concurrency.group).toBeTruthy();
  });

  test('puts no value of an event into a shell', () => {
    for (const run of jobs.flatMap(commandsOf)) expect(run).not.toContain('${{');
  });

  test('runs scripts that there are', () => {
    const scripts = jobs
      .flatMap(commandsOf)
      .flatMap((run) => [
        ...[...run.matchAll(/npm run (\S+)|npm (test)/g)].map(([, script, test]) => (script ?? test)!),
      ]);
    expect(scripts.filter((script) => !(script in manifest.scripts))).toEqual([]);
    const files = jobs.flatMap(commandsOf).flatMap((run) => [...run.matchAll(/bash (\S+)/g)].map(([, file]) => file!));
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });
});

test('CI runs .ci/run on every major version of Node.js that the package takes', () => {
  const majors = manifest.engines.node.split('||').map((range) => Number(/\d+/.exec(range)![0]));
  const { strategy, steps } = ci.jobs.all!;
  expect(strategy!.matrix).toEqual({ node: majors });
  expect(steps!.some((step) => step.with?.['node-version'] === '${{ matrix.node }}')).toBe(true);
  expect(commandsOf(ci.jobs.all!)).toEqual(['bash .ci/run']);
});

test('CI runs the tests on every major version of PostgreSQL that the package takes', () => {
  const { strategy, steps } = ci.jobs.postgresql!;
  expect(strategy!.matrix).toEqual({ postgresql: [...POSTGRES_VERSIONS] });
  expect(steps!.at(-1)).toEqual({ run: 'npm test -- --ci', env: { PG_VERSION: '${{ matrix.postgresql }}' } });
});

test('CI installs what .ci/run installs', () => {
  const packages = /--no-install-recommends (.+?) > /.exec(
    readFileSync(join(ROOT, '.ci/run'), 'utf8').replaceAll('\\\n', ' '),
  )![1]!;
  expect(commandsOf(ci.jobs.postgresql!).join('\n')).toContain(`--no-install-recommends ${packages.trim()}`);
});

test('a release is a tag that CI has passed and that was checked, published with provenance', () => {
  const { test: tests, publish } = release.jobs;
  expect(release.on).toEqual({ push: { tags: ['v*'] } });
  expect(tests!.uses).toBe('./.github/workflows/ci.yml');
  expect('workflow_call' in ci.on).toBe(true);
  expect(publish).toMatchObject({ needs: 'test', permissions: { contents: 'read', 'id-token': 'write' } });
  expect(commandsOf(publish!).slice(-2)).toEqual([
    'npm run release:check -- "$TAG"',
    'npm publish --provenance --access public',
  ]);
});

describe('npm run release:check', () => {
  const right = {
    tag: 'v1.2.0',
    manifest: { version: '1.2.0', repository: { type: 'git', url: 'git+https://git.example.com/a/b.git' } },
    changelog: '## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n',
  };

  test('lets a release pass whose tag, version and changelog agree', () => {
    expect(problemsOfRelease(right)).toEqual([]);
  });

  test.each([
    ['another tag', { tag: 'v1.2.1' }, /the tag must be v1\.2\.0/],
    ['no tag', { tag: '' }, /the tag must be v1\.2\.0/],
    ['a changelog without the version', { changelog: '## [Unreleased]\n\n## [1.2.01] - 2026-01-31' }, /no section/],
    ['a version that looks like it', { changelog: '## [1x2.0] - 2026-01-31' }, /no section/],
    ['a changelog without the date', { changelog: '## [1.2.0]' }, /no section/],
    ['no repository', { manifest: { version: '1.2.0' } }, /no provenance without/],
  ])('refuses %s', (_what, change, problem) => {
    expect(problemsOfRelease({ ...right, ...change })).toEqual([expect.stringMatching(problem)]);
  });
});
