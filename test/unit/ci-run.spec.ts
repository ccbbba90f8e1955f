import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Stand-ins for npm and npx, which end as the variables say and leave the report that Jest would. */
const NPM = `#!/usr/bin/env bash
file=\${*: -1}; file=\${file#--outputFile=}
case "$1" in
  ci) exit "\${INSTALL:-0}" ;;
  test) [[ -z \${REPORT:-} ]] || echo "$REPORT" > "$file"; sleep "\${HANG:-0}"; exit "\${TESTS:-0}" ;;
  run) [[ $2 != test:* ]] || echo '{"numPassedTests":1,"numFailedTests":0,"numRuntimeErrorTestSuites":0}' > "$file"
    [[ $2 != "\${BROKEN:-}" ]] ;;
esac`;
const NPX = `#!/usr/bin/env bash
file=\${*: -1}; echo '{"numPassedTests":5,"numFailedTests":0,"numRuntimeErrorTestSuites":0}' > "\${file#--outputFile=}"`;

describe('.ci/run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ci run '));
  const bin = join(folder, 'bin');
  beforeAll(() => {
    cpSync(join(__dirname, '../../.ci/run'), join(folder, '.ci/run'));
    mkdirSync(bin);
    for (const [name, text] of Object.entries({ npm: NPM, npx: NPX })) {
      writeFileSync(join(bin, name), text);
      chmodSync(join(bin, name), 0o755);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const report = (numPassedTests: number, numFailedTests: number, numRuntimeErrorTestSuites = 0) =>
    JSON.stringify({ numPassedTests, numFailedTests, numRuntimeErrorTestSuites });

  test.each([
    ['adds up the tests of all runs', { REPORT: report(10, 0) }, '19 passed, 0 failed'],
    [
      'counts failed tests, and files that could not run',
      { REPORT: report(8, 2, 1), TESTS: '1' },
      '17 passed, 3 failed',
    ],
    ['counts a crash of Jest as a failure', { TESTS: '134' }, '9 passed, 1 failed'],
    ['counts a report that cannot be read as a failure', { REPORT: '{' }, '9 passed, 1 failed'],
    ['counts a Jest that fails without a failed test', { REPORT: report(10, 0), TESTS: '1' }, '19 passed, 1 failed'],
    ['ends a Jest that does not', { REPORT: report(10, 0), HANG: '60', TEST_TIMEOUT_S: '1' }, '19 passed, 1 failed'],
    ['counts a failed race', { REPORT: report(10, 0), BROKEN: 'test:faults' }, '19 passed, 1 failed'],
    ['counts a failed chaos', { REPORT: report(10, 0), BROKEN: 'test:chaos' }, '19 passed, 1 failed'],
    ['counts a failure through Shards', { REPORT: report(10, 0), BROKEN: 'test:shards' }, '19 passed, 1 failed'],
    ['counts a failed project', { REPORT: report(10, 0), BROKEN: 'test:outside' }, '19 passed, 1 failed'],
    ['counts a failed lint, and goes on', { REPORT: report(10, 0), BROKEN: 'lint' }, '19 passed, 1 failed'],
    ['counts wrong types, and goes on', { REPORT: report(10, 0), BROKEN: 'typecheck' }, '19 passed, 1 failed'],
    ['counts a failed build, and goes on', { REPORT: report(10, 0), BROKEN: 'build' }, '19 passed, 1 failed'],
    ['stops where nothing could be installed', { INSTALL: '1' }, '0 passed, 1 failed'],
  ])('%s', (_, env, lastLine) => {
    const { stdout, status } = spawnSync('bash', [join(folder, '.ci/run')], {
      env: { ...process.env, ...env, PATH: `${bin}${delimiter}${process.env.PATH}` },
      encoding: 'utf8',
    });
    expect(stdout.trimEnd().split('\n').at(-1)).toBe(lastLine);
    expect(status).toBe(lastLine.endsWith(' 0 failed') ? 0 : 1);
  });
});
