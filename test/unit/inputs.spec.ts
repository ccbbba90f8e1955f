import { ConfigurationError, InvalidCommandError } from '../../src/errors';
import { AuthorizeCommand } from '../../src/auth-requests/authorize';
import { RequestRef } from '../../src/auth-requests/queries';
import { RelayOptions } from '../../src/outbox/outbox-relay';
import { rulesOf } from '../../src/validation/keeps-rules';
import { validateCommand } from '../../src/validation/validate-command';
import { validateOptions, validateSettings } from '../../src/validation/validate-options';
import { exampleOf, type InputClass, inputClasses, numbersOf, optionalProperties } from '../support/requests/inputs';

const each = inputClasses().map((Class) => [Class.name, Class] as const);

/** What an input is refused for; undefined where it is taken. */
function problemsOf(Class: InputClass, input: unknown): readonly string[] | undefined {
  try {
    validateCommand({ Class }, input as object);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidCommandError);
    return (error as InvalidCommandError).problems;
  }
}

const without = (input: object, property: string) =>
  Object.fromEntries(Object.entries(input).filter(([name]) => name !== property));

/** Refused by every rule there is: neither can be asked what it is. */
const HOSTILE = [
  Symbol('hunter2'),
  new Proxy(
    {},
    new Proxy(
      {},
      {
        get: () => () => {
          throw new Error('hunter2');
        },
      },
    ),
  ),
];

it('knows what callers hand in', () => {
  expect(each.length).toBeGreaterThan(40);
});

describe.each(each)('%s', (_name, Class) => {
  const example = exampleOf(Class);
  const properties = rulesOf(Class).map(({ property }) => property);

  it('has a rule for each of its properties, and an example here', () => {
    expect(properties.sort()).toEqual(Object.keys(new Class()).sort());
    expect(Object.keys(example).sort()).toEqual(properties);
    expect({ ...validateCommand({ Class }, example) }).toEqual(example);
  });

  it('takes null and undefined in an optional property as not given', () => {
    for (const property of optionalProperties(Class)) {
      for (const nothing of [null, undefined]) {
        const taken = validateCommand({ Class }, { ...example, [property]: nothing });
        expect({ ...taken }).toEqual(without(example, property));
        expect(taken).not.toHaveProperty(property);
      }
    }
  });

  it('names a property that is missing or of a wrong type, and no other, once and without its value', () => {
    const optional = optionalProperties(Class);
    for (const property of properties) {
      const wrong = optional.includes(property) ? HOSTILE : [...HOSTILE, null, undefined];
      for (const value of wrong) {
        const problems = problemsOf(Class, { ...example, [property]: value });
        expect(problems).toEqual([expect.stringMatching(new RegExp(`^${property} (must |cannot be read$)`))]);
        expect(String(problems)).not.toMatch(/hunter2/);
      }
    }
  });

  it('names a property that cannot be read', () => {
    for (const property of properties) {
      const input = Object.defineProperty({ ...example }, property, {
        get() {
          throw new Error('hunter2');
        },
      });
      expect(problemsOf(Class, input)).toEqual([`${property} cannot be read`]);
    }
  });

  it('is nothing but an object', () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const primitives = [undefined, null, '', 'text', 5, 5n, true, Symbol('s')];
    const objects = [() => example, [], [example], new Map(), new Set(), new Date(), Promise.resolve(), /x/, proxy];
    for (const input of [...primitives, ...objects]) {
      expect(problemsOf(Class, input)).toEqual([expect.stringMatching(/^it (must be an object|cannot be read)$/)]);
    }
  });

  it('ignores what a command has beside it, and refuses it among options', () => {
    const more = { ...example, nonsense: 1 };
    expect({ ...validateCommand({ Class }, more) }).toEqual(example);
    for (const [validate, error] of [
      [validateOptions, InvalidCommandError],
      [validateSettings, ConfigurationError],
    ] as const) {
      expect(() => validate({ [Class.name]: Class }, more)).toThrow(error);
      expect(() => validate({ [Class.name]: Class }, more)).toThrow(
        `${Class.name}: nonsense is none of ${rulesOf(Class)
          .map(({ property }) => property)
          .join(', ')}`,
      );
      expect({ ...validate({ [Class.name]: Class }, example) }).toEqual(example);
    }
  });
});

/** Every number that can be handed in, with the bounds of its rule. */
const numbers = each.flatMap(([name, Class]) => numbersOf(Class).map((number) => ({ name, Class, ...number })));

describe.each(numbers)('$property of $name', ({ Class, property, min, max }) => {
  // An age of a window is looked at by itself.
  const given = (value: unknown) => ({ ...without(exampleOf(Class), 'withinMs'), olderThanMs: 0.5, [property]: value });
  const problemsWith = (value: unknown) =>
    problemsOf(Class, given(value))?.filter((problem) => problem.startsWith(property)) ?? [];

  it('has bounds that PostgreSQL, and a timer where it is one, can take', () => {
    expect(Number.isSafeInteger(min) && Number.isSafeInteger(max) && min >= 0 && min < max).toBe(true);
    if (/(Timeout|Interval|Delay|Wait|Budget)Ms$/.test(property)) expect(max).toBeLessThan(2 ** 31);
    expect([...problemsWith(min), ...problemsWith(max)]).toEqual([]);
  });

  it.each(['5', '10s', '', NaN, Infinity, -Infinity, 5n, true, false, [5], {}, new Number(5), new Date(5)])(
    'is not %p',
    (value) => {
      expect(problemsWith(value)).toEqual([`${property} must be an integer from ${min} to ${max}`]);
    },
  );

  it('is neither beyond its bounds nor a fraction', () => {
    for (const value of [min - 1, -5, min + 0.5, max + 1, 2 ** 53, 1e308]) {
      expect(problemsWith(value)).toEqual([`${property} must be an integer from ${min} to ${max}`]);
    }
  });
});

describe('JSON', () => {
  const command = exampleOf(AuthorizeCommand);
  const problems = (metadata: unknown) => problemsOf(AuthorizeCommand, { ...command, metadata });
  const circle: Record<string, unknown> = {};
  circle.inner = [circle];
  const nested = (levels: number): unknown => (levels === 0 ? 1 : { inner: nested(levels - 1) });
  const widening = (levels: number): unknown => {
    let value: unknown = { a: 1 };
    for (let level = 0; level < levels; level++) value = { left: value, right: value };
    return value;
  };
  class Money {
    amount = 1;
    toJSON() {
      return '1';
    }
  }
  const withGetter = Object.defineProperty({}, 'a', { get: () => 1, enumerable: true });
  const hidden = Object.defineProperty({}, 'a', { value: 1 });
  const named = Object.assign([1], { name: 'x' });

  it.each<[string, unknown]>([
    ['a circle', circle],
    ['101 levels', nested(101)],
    ['100,000 levels', nestedText(100_000)],
    ['one object many times over', widening(60)],
    ['too many values', { a: Array.from({ length: 100_000 }, () => 1) }],
    ['too many characters', { a: 'x'.repeat(1_000_001) }],
    ['half of a character', { a: '\ud83c' }],
    ['half of a character in a key', { '\ud83c': 1 }],
    ['NUL in a list', { a: ['\0'] }],
    ['a bigint', { a: 1n }],
    ['NaN', { a: NaN }],
    ['Infinity', { a: -Infinity }],
    ['minus zero', { a: -0 }],
    ['undefined', { a: undefined }],
    ['a symbol', { a: Symbol('s') }],
    ['a function', { a: () => 1 }],
    ['a date', { a: new Date() }],
    ['a map', { a: new Map() }],
    ['an instance of a class', { a: new Money() }],
    ['what has itself written otherwise', { a: 1, toJSON: () => ({}) }],
    ['a list that has itself written otherwise', { a: Object.assign([1], { toJSON: () => 1 }) }],
    ['a getter', withGetter],
    ['a getter within', { a: [withGetter] }],
    ['what would be left out', hidden],
    ['a key that is a symbol', { [Symbol('s')]: 1 }],
    ['a key called __proto__', JSON.parse('{"a":{"__proto__":{"b":1}}}')],
    // eslint would have none of it in a literal of its own.
    ['a list with a hole', { a: Object.assign(new Array(3), { 0: 1, 2: 1 }) }],
    ['a list with nothing but holes', { a: new Array(4_000_000_000) }],
    ['a list with more than its elements', { a: named }],
    ['a proxy', { a: new Proxy({ b: 1 }, {}) }],
    ['a list', [1]],
    ['a text', '{}'],
    ['an instance', new Money()],
  ])('is not %s', (_what, metadata) => {
    expect(problems(metadata)).toEqual([expect.stringMatching(/^metadata must be a plain object of JSON values/)]);
  });

  it.each<[string, unknown]>([
    ['nothing', {}],
    ['100 levels', nested(100)],
    ['many values', { a: Array.from({ length: 99_990 }, () => 1) }],
    ['a long text', { a: 'x'.repeat(999_000) }],
    ['without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['one object twice', widening(1)],
    ['a key called toJSON', { toJSON: 'x', constructor: 1, '': [] }],
    ['what any number can be', { a: [0, -1, 0.1, 1e308, 5e-324, 2 ** 60] }],
  ])('may be %s', (_what, metadata) => {
    expect(problems(metadata)).toBeUndefined();
  });

  it('of texts has nothing but texts', () => {
    for (const headers of [{ a: 1 }, { a: {} }, { a: ['b'] }, { a: null }, { a: '\0' }, ['a'], new Map([['a', 'b']])]) {
      expect(problemsOf(AuthorizeCommand, { ...command, headers })).toEqual([
        expect.stringMatching(/^headers must be a plain object of texts/),
      ]);
    }
  });

  function nestedText(levels: number): unknown {
    let value: unknown = 1;
    for (let level = 0; level < levels; level++) value = { inner: value };
    return value;
  }
});

it('what was checked is what is used: a property is read once', () => {
  let reads = 0;
  const input = {
    ...exampleOf(RequestRef),
    get authRequestId() {
      return reads++ === 0 ? (exampleOf(RequestRef).authRequestId as string) : 'something else';
    },
  };
  expect(validateCommand({ RequestRef }, input as RequestRef)).toMatchObject(exampleOf(RequestRef));
  expect(reads).toBe(1);
});

it('options that are null or undefined are not given', () => {
  for (const validate of [validateOptions, validateSettings]) {
    for (const nothing of [null, undefined]) {
      expect({ ...validate({ RelayOptions }, nothing as unknown as undefined) }).toEqual({});
    }
  }
});

it.each([
  ['a text', { currency: 'usd' }, 'currency must be three letters A to Z (ISO 4217)'],
  ['a number as text', { amountCents: '5' }, `amountCents must be an integer from 1 to ${2 ** 53 - 1}`],
  ['a wrong UUID', { restaurantId: 'x' }, 'restaurantId must be a UUID'],
])('%s that is wrong is told in one sentence', (_what, change, problem) => {
  expect(problemsOf(AuthorizeCommand, { ...exampleOf(AuthorizeCommand), ...change })).toEqual([problem]);
});
