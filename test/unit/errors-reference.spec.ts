import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '../..');

interface Entry {
  name: string;
  code: string;
  retryable: boolean;
}

/** Every class that says what it is to programs: in src, one class a failure that a caller can act on. */
function declared(): Entry[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return files.flatMap((name) => {
    const source = readFileSync(join(root, 'src', name), 'utf8');
    const classes = source.matchAll(/^export class (\w+) extends PaymentEventsDbError \{\n([\s\S]*?)^\}/gm);
    return [...classes].map(([, className, body]) => ({
      name: className!,
      code: /readonly code = '(\w+)'/.exec(body!)![1]!,
      retryable: body!.includes('readonly retryable = true'),
    }));
  });
}

/** The rows of the page's tables: class, code, retryable, meaning, what to do. */
function documented(): Entry[] {
  const page = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8');
  return [...page.matchAll(/^\| +`(\w+)` +\| +`(\w+)` +\| +(yes|no) +\| .+ \| .+ \|$/gm)].map(
    ([, name, code, retryable]) => ({
      name: name!,
      code: code!,
      retryable: retryable === 'yes',
    }),
  );
}

const byName = (one: Entry, other: Entry) => one.name.localeCompare(other.name);

it('docs/reference/errors.md has every error, with its code and whether it is retryable', () => {
  expect(documented().sort(byName)).toEqual(declared().sort(byName));
});

it('no two errors have the same code', () => {
  const codes = declared().map(({ code }) => code);
  expect(codes.length).toBeGreaterThan(20);
  expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([]);
});
