import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { getMetadataArgsStorage } from 'typeorm';
import { BUILT_IN_PROCESSORS } from '../../src';
import { AuthRequests } from '../../src/auth-requests/auth-requests';

const ROOT = join(__dirname, '../..');
const PAGE = 'docs/development.md';
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  .split('\n')
  .filter((path) => /\.(ts|md|json|proto|sql)$/.test(path) && existsSync(join(ROOT, path)) && !isCommon(path));

/** What goes with every change, what commands write, what is released and never changes, and what shows the way. */
function isCommon(path: string): boolean {
  return (
    ['CHANGELOG.md', 'package-lock.json', 'README.md', PAGE, relative(ROOT, __filename)].includes(path) ||
    /^(src\/schema\/catalogs|src\/protobuf\/generated|test\/fixtures|docs\/(reference|tutorial|README)|src\/migrations\/(\d|helpers\/))/.test(
      path,
    )
  );
}

/** Code without its comments, in which a name is only explained. */
function contentOf(path: string): string {
  const text = read(path);
  return path.endsWith('.ts') ? text.replace(/^\s*\/?\*.*$|^\s*\/\/.*$|^import .*$/gm, '') : text;
}
const contents = new Map(files.map((path) => [path, contentOf(path)]));

const naming = (holds: (content: string) => boolean) =>
  [...contents].filter(([, content]) => holds(content)).map(([path]) => path);
const has = (name: string) => (content: string) => new RegExp(`\\b${name}\\b`, 'i').test(content);

/** Tables by either of their names. */
const tables = getMetadataArgsStorage().tables.map(({ target, name }) => `(${(target as () => unknown).name}|${name})`);
const operations = Object.getOwnPropertyNames(AuthRequests.prototype).filter((name) => name !== 'constructor');

interface Kind {
  readonly section: string;
  readonly most: number;
  /** Stands for each placeholder of the list. */
  readonly example: Record<string, string>;
  /** The files that a new one has to be added to. */
  readonly found: () => string[];
  /** Those that name it without having to: with the reason. */
  readonly besides: Record<string, string>;
}

const KINDS: Kind[] = [
  {
    section: 'An operation',
    most: 14,
    example: { operation: 'close-unanswered', page: 'void-and-expire' },
    found: () => [
      ...naming(has('closeUnanswered(Command)?')),
      ...naming((content) => operations.every((name) => has(name)(content))),
    ],
    besides: {
      'test/integration/attempts.spec.ts': 'the spec of its subject',
      'src/cli/commands/requests.ts': 'names the operation of the example as what to do next',
      'src/inspection/next-steps.ts': 'names the operation of the example as what to do next',
      'test/integration/cli-inspect.spec.ts': 'expects that advice',
      'test/faults/worker-cycle.spec.ts': 'has much meet at one request, the operation of the example as well',
      'test/integration/cli-requests.spec.ts': 'expects that advice',
    },
  },
  {
    section: 'A table',
    most: 10,
    example: { table: 'auth-processing-lock', migration: '1795367318204-LegacySchema' },
    found: () => naming((content) => tables.every((table) => has(table)(content))),
    besides: {
      'docs/explanation/what-is-protected.md': 'names what an attacker may try, table by table',
      'test/migrations/obstacles.spec.ts': 'puts something in the way of a step, on one table or another',
    },
  },
  {
    section: 'A processor that comes with the package',
    most: 6,
    example: { processor: 'mock', migration: '1795824155529-AddProcessors' },
    found: () => naming((content) => BUILT_IN_PROCESSORS.every(({ name }) => has(name)(content))),
    besides: {},
  },
  {
    section: 'A publisher',
    most: 6,
    example: { publisher: 'sqs' },
    found: () =>
      naming((content) => content.includes('SqsPublisher') || (/\bsqs/i.test(content) && /\bamqp/i.test(content))),
    besides: {
      'test/integration/docker-image.spec.ts': 'loads both clients in the image',
      'test/integration/publishers/sqs-answers.spec.ts': 'is about answers that only SQS gives',
      'test/integration/publishers/trace-context.spec.ts': 'compares what two brokers take',
      'test/unit/settings.spec.ts': 'takes publishers as two examples of a set-up',
    },
  },
];

describe.each(KINDS)('$section', ({ section, most, example, found, besides }) => {
  const text = read(PAGE).split(`### ${section}\n`)[1]!.split(/^##/m)[0]!;
  const named = [...text.matchAll(/^- `([^`]+)`: \S/gm)].map(([, path]) => path!);
  const list = named.map((path) =>
    path.replace(/<(\w+)>/g, (whole, placeholder: string) => example[placeholder] ?? whole),
  );

  test(`takes at most ${most} files`, () => {
    expect(named.length).toBeGreaterThan(3);
    expect(named.length).toBeLessThanOrEqual(most);
  });

  test('names files that there are', () => {
    const isOfExample = (path: string) => path.startsWith('test/integration/<');
    expect(list.filter((path, index) => !existsSync(join(ROOT, path)) && !isOfExample(named[index]!))).toEqual([]);
  });

  test('names every file that a new one has to be added to', () => {
    const paths = [...new Set(found())];
    expect(paths.length).toBeGreaterThan(0);
    expect(paths.filter((path) => !list.includes(path) && !(path in besides))).toEqual([]);
  });

  test('has no exception that is none', () => {
    const paths = found();
    expect(Object.keys(besides).filter((path) => existsSync(join(ROOT, path)) && !paths.includes(path))).toEqual([]);
  });
});

test('the files of an event type are there, and each names every type', () => {
  const text = read(PAGE).split('### An event type\n')[1]!.split(/^##/m)[0]!;
  const list = [...text.matchAll(/^- `([^`]+)`: \S/gm)].map(([, path]) => path!);
  const types = [...read('src/event-store/event-codec.ts').matchAll(/^ {2}(\w+): \w+Schema,$/gm)].map(
    ([, type]) => type!,
  );
  expect(types.length).toBeGreaterThan(5);
  expect(list.filter((path) => !types.every((type) => has(type)(read(path))))).toEqual([]);
});
