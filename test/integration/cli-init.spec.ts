import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { createProgram } from '../../src/cli/program';
import { writeNewFile } from '../../src/cli/init/write-new-file';
import { DEFAULT_DATABASE_URL } from '../../src/config';
import { programHere } from '../support/processes/cli';
import { compiled } from '../support/jest/compiled';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'init '));
});
afterEach(() => rmSync(folder, { recursive: true }));

const init = (...args: string[]) => programHere(createProgram(), ['init', folder, ...args]);
const put = (name: string, text = '') => writeFileSync(join(folder, name), text);
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

test('writes a file for the typeorm command and one for Docker Compose, and says so', async () => {
  const { stdout, stderr, exitCode } = await init();
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  expect(stdout).toMatch(/^Wrote ormconfig\.js\.\nWrote compose\.yaml\.\n/);
  expect(readdirSync(folder).toSorted()).toEqual(['compose.yaml', 'ormconfig.js']);
});

test.each([
  ['JavaScript, CommonJS', {}, 'ormconfig.js', /^const .* = require\(.*^module\.exports = new /ms],
  [
    'JavaScript, ES modules',
    { 'package.json': '{ "type": "module" }' },
    'ormconfig.js',
    /^import .*^export default /ms,
  ],
  ['TypeScript', { 'package.json': '{}', 'tsconfig.json': '{}' }, 'ormconfig.ts', /^import .*^export default /ms],
  ['a package.json that is none', { 'package.json': '{' }, 'ormconfig.js', /^const .* = require\(/m],
])('writes it as the project is: %s', async (_project, files, name, form) => {
  for (const [file, text] of Object.entries(files)) put(file, text);
  expect(JSON.parse((await init('--json')).stdout)).toEqual({ written: [name, 'compose.yaml'], leftAlone: [] });
  expect(read(name)).toMatch(form);
});

test('looks for what a project is no further than its own package.json', async () => {
  put('tsconfig.json', '{}');
  put('package.json', '{ "type": "module" }');
  for (const [name, files, written] of [
    ['part', [], 'ormconfig.ts'],
    ['package', ['package.json'], 'ormconfig.js'],
  ] as const) {
    const inner = join(folder, name);
    mkdirSync(inner);
    for (const file of files) writeFileSync(join(inner, file), '{}');
    const { stdout } = await programHere(createProgram(), ['init', inner, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ written: [written, 'compose.yaml'] });
  }
});

test('its Compose file offers an empty database at the default DATABASE_URL, to this machine only', async () => {
  await init();
  const { services, volumes, ...others } = parse(read('compose.yaml')) as {
    services: Record<string, { image: string; environment: Record<string, string>; ports: string[] }>;
    volumes: object;
  };
  const { image, environment, ports, ...more } = services.postgres!;
  const { POSTGRES_USER: user, POSTGRES_PASSWORD: password, POSTGRES_DB: name } = environment;
  expect(`postgresql://${user}:${password}@localhost:5432/${name}`).toBe(DEFAULT_DATABASE_URL);
  expect({ image, ports }).toEqual({ image: 'postgres:17', ports: ['127.0.0.1:5432:5432'] });
  // Of two projects each has its own: Compose names them after their folders.
  expect([...Object.keys(others), ...Object.keys(more)]).toEqual(['volumes', 'healthcheck']);
  expect(volumes).toHaveProperty('postgres-data');
});

test.each(['ormconfig.js', 'ormconfig.ts', 'ormconfig.json', 'compose.yml', 'docker-compose.yml'])(
  'leaves alone what is there: %s',
  async (name) => {
    put(name, 'mine');
    const { stdout } = await init('--json');
    const { written, leftAlone } = JSON.parse(stdout) as Record<string, string[]>;
    expect(leftAlone).toEqual([name]);
    expect(written).toHaveLength(1);
    expect(read(name)).toBe('mine');
    expect(readdirSync(folder)).toHaveLength(2);
    expect((await init()).stdout).toContain(`Left alone: ${name} is there already.`);
  },
);

test('--dry-run says what would be written, and writes nothing', async () => {
  put('compose.yaml', 'mine');
  const { stdout } = await init('--dry-run');
  expect(stdout).toContain('Would write ormconfig.js.\nLeft alone: compose.yaml is there already.\n');
  expect(readdirSync(folder)).toEqual(['compose.yaml']);
});

test('of many at once one writes a file, whole, and nobody writes over it', async () => {
  for (let round = 0; round < 20; round++) {
    const path = join(folder, `file-${round}`);
    const texts = Array.from({ length: 6 }, (_, index) => `${index}`.repeat(10_000));
    const outcomes = await Promise.all(texts.map((text) => writeNewFile(path, text)));
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    expect(readFileSync(path, 'utf8')).toBe(texts[outcomes.indexOf(true)]);
  }
  expect(readdirSync(folder)).toHaveLength(20);
});

test('a folder that cannot be written to is named, with the reason', async () => {
  const { stderr, exitCode } = await programHere(createProgram(), ['init', join(folder, 'nowhere'), '--json']);
  const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
  expect(error.code).toBe('CANNOT_CREATE');
  expect(error.message).toMatch(/^ormconfig\.js could not be written \(ENOENT\)/);
  expect(exitCode).toBe(4);
});

test('a disk that takes nothing more leaves no file behind, and no half of one', () => {
  // No file of this process may grow, which stands for a full disk.
  const command = 'ulimit -f 0 && exec "$0" "$1" init "$2" --json';
  const { status, stderr } = spawnSync('bash', ['-c', command, process.execPath, compiled('src/cli/main.ts'), folder], {
    encoding: 'utf8',
  });
  expect(stderr).toMatch(/"code":"CANNOT_CREATE","message":"ormconfig\.js could not be written \(EFBIG\)/);
  expect(status).toBe(4);
  expect(readdirSync(folder)).toEqual([]);
});
