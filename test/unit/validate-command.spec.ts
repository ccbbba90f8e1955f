import { IsString, Length, registerDecorator, ValidateIf, ValidateNested, validateSync } from 'class-validator';
import fc from 'fast-check';
import { RequestRef } from '../../src/auth-requests/queries';
import { InvalidCommandError } from '../../src/errors';
import { keepsRules } from '../../src/validation/keeps-rules';
import { Text } from '../../src/validation/rules';
import { validateCommand } from '../../src/validation/validate-command';
import { exampleOf, type InputClass, inputClasses } from '../support/requests/inputs';

const { authRequestId: uuid } = exampleOf(RequestRef) as unknown as RequestRef;
const texts = ['', 'x', '\0', '\ud83c', 'x'.repeat(2000), '😀'.repeat(64), uuid.toUpperCase()];
const numbers = [0, -1, 1.5, NaN, 2 ** 53, 5n];
const objects = [
  {},
  { a: 1 },
  { a: NaN },
  { a: '\0' },
  new Map(),
  new Date(NaN),
  Buffer.alloc(0),
  Promise.resolve('x'),
];
const lists = [[], [1], [uuid, 'x'], [uuid, uuid], new Set([uuid])];
const odd: unknown[] = [undefined, null, true, Symbol('x'), () => 'x', ...texts, ...numbers, ...objects, ...lists];

/** Any command of a class: mostly of sound values, so that neither all nor none are refused. */
const commandOf = (Command: InputClass): fc.Arbitrary<object> =>
  fc
    .record(
      Object.fromEntries(
        Object.keys(new Command()).map((property) => [
          property,
          fc.oneof({ weight: 12, arbitrary: fc.constant(exampleOf(Command)[property]) }, fc.constantFrom(...odd)),
        ]),
      ),
    )
    .map((values) => Object.assign(new Command(), values));

test.each(inputClasses().map((Command) => [Command.name, Command] as const))(
  '%s: a command is accepted at once exactly where class-validator finds nothing wrong with it',
  (_, Command) => {
    const outcomes = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(commandOf(Command), (command) => {
        const accepted = validateSync(command, { forbidUnknownValues: true }).length === 0;
        outcomes[accepted ? 'accepted' : 'refused']++;
        return keepsRules(Command, command) === accepted;
      }),
      { numRuns: 500 },
    );
    expect(Math.min(outcomes.accepted, outcomes.refused)).toBeGreaterThan(5);
  },
);

test('an object of a class without rules is refused', () => {
  class Unknown {}
  expect(() => validateCommand({ Unknown }, {})).toThrow(InvalidCommandError);
});

test('a property called constructor does not change by which rules a command goes', () => {
  const ref = { restaurantId: uuid, authRequestId: uuid };
  const odd = { ...ref, constructor: 'x' };
  expect({ ...validateCommand({ RequestRef }, odd) }).toEqual(ref);
  expect(() => validateCommand({ RequestRef }, { ...odd, authRequestId: 'x' })).toThrow(InvalidCommandError);
});

describe('rules of any kind are left to class-validator, and hold', () => {
  class Inner {
    @Length(2)
    text: string;
  }
  class Nested {
    @ValidateNested()
    inner: Inner;
  }
  class Conditional {
    @ValidateIf((_, value) => value !== 5)
    @IsString({ validateIf: (_, value) => value !== 6 })
    value: unknown;
  }

  test('on an object within', () => {
    const inner = (text: string) => ({ inner: Object.assign(new Inner(), { text }) });
    expect(validateCommand({ Nested }, inner('ab')).inner.text).toBe('ab');
    expect(() => validateCommand({ Nested }, inner('a'))).toThrow(InvalidCommandError);
  });

  test('under a condition', () => {
    for (const value of [5, 6, 'text']) expect(validateCommand({ Conditional }, { value })).toEqual({ value });
    expect(() => validateCommand({ Conditional }, { value: 7 })).toThrow(InvalidCommandError);
  });

  test('whose answer comes later', () => {
    class Later {
      value: unknown;
    }
    const validator = { validate: () => Promise.resolve(false) };
    registerDecorator({ name: 'later', target: Later, propertyName: 'value', async: true, validator });
    expect(keepsRules(Later, new Later())).toBe(false);
  });
});

test('a text is measured in characters, those beyond U+FFFF included', () => {
  class Measured {
    @Text(2, 5)
    text: string;
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 7 }), (text) => {
      const characters = [...text].length;
      const sound = characters >= 2 && characters <= 5 && !text.includes('\0');
      return keepsRules(Measured, { text }) === sound;
    }),
    { numRuns: 1000 },
  );
});
