import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';
import { minifySync, transformSync } from '@swc/core';
import { OutboxMessageNotFoundError, PaymentEventsDbError } from '../../src/errors';

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

describe('the name of an error', () => {
  it.each(declared())('$name is that of its class, and follows from $code', ({ name, code }) => {
    class Renamed extends PaymentEventsDbError {
      readonly code = code;
    }
    expect(new Renamed('')).toMatchObject({ name, code });
  });

  it('survives a minifier, in what is thrown and what is logged', () => {
    const jsc = { parser: { syntax: 'typescript' }, target: 'es2022' } as const;
    const source = readFileSync(join(root, 'src/errors.ts'), 'utf8');
    const compiled = transformSync(source, { jsc, module: { type: 'commonjs' } }).code;
    const { code: small } = minifySync(compiled, {
      compress: true,
      mangle: { toplevel: true, keep_classnames: false },
    });
    const module = { exports: {} as Record<string, new (...args: unknown[]) => PaymentEventsDbError> };
    (runInThisContext(`(exports) => {${small}}`) as (exports: object) => void)(module.exports);
    const classes = Object.entries(module.exports).filter(([name]) => name !== 'PaymentEventsDbError');
    expect(classes.length).toBeGreaterThan(20);
    for (const [name, Minified] of classes) {
      const error = new Minified('x', ['x'], 'x');
      expect(Minified.name).not.toBe(name);
      expect(error.name).toBe(name);
      expect(String(error)).toBe(`${name}: ${error.message}`);
      expect(JSON.parse(JSON.stringify(error))).toMatchObject({ name, message: error.message, code: error.code });
    }
  });

  it('goes into JSON with the message and what the error knows, and without its cause', () => {
    const error = new OutboxMessageNotFoundError(9007199254740993n);
    error.cause = new Error('tok_secret');
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'OutboxMessageNotFoundError',
      message: error.message,
      ...{ code: 'OUTBOX_MESSAGE_NOT_FOUND', retryable: false, id: '9007199254740993' },
    });
  });
});
