import { validateSync, type ValidationError } from 'class-validator';
import { brokenProperties, keepsRules, rulesOf } from './keeps-rules';

/** What a caller handed in, or what is wrong with it. */
export type Input<T> =
  { readonly value: T; readonly problems?: undefined } | { readonly value?: undefined; readonly problems: string[] };

/**
 * Reads what a caller handed in by the rules on a class: a copy of the properties that the class has. Null and undefined
 * are both not given, and then there is no such property in the copy. Never throws.
 *
 * Each property is read once, so that what was checked is what is used.
 *
 * @param others what to do about properties that the class does not have
 */
export function readInput<T extends object>(
  Class: new () => T,
  input: unknown,
  others: 'ignored' | 'refused',
): Input<T> {
  const value = Object.create(Class.prototype as object) as Record<string, unknown>;
  let reading = 'it';
  try {
    if (!isObject(input)) return { problems: ['it must be an object'] };
    const rules = rulesOf(Class);
    for (const { property } of rules) {
      reading = property;
      const given = input[property];
      if (given !== undefined && given !== null) value[property] = given;
    }
    if (others === 'refused') {
      const names = rules.map(({ property }) => property);
      const unknown = Object.keys(input).filter((name) => !names.includes(name));
      if (unknown.length > 0) return { problems: unknown.map((name) => `${name} is none of ${names.join(', ')}`) };
    }
  } catch {
    return { problems: [`${reading} cannot be read`] };
  }
  if (keepsRules(Class, value)) return { value: value as T };
  try {
    const errors = validateSync(value, { forbidUnknownValues: true, stopAtFirstError: true });
    return errors.length > 0 ? { problems: problemsIn(errors) } : { value: value as T };
  } catch {
    // class-validator asks a value what it is, which a proxy may answer by throwing.
    return { problems: brokenProperties(Class, value).map((property) => `${property} cannot be read`) };
  }
}

/** Also an instance of a class of the caller's, but no list, date, map or the like. */
const isObject = (input: unknown): input is Record<string, unknown> =>
  typeof input === 'object' && Object.prototype.toString.call(input) === '[object Object]';

const problemsIn = (errors: ValidationError[]): string[] =>
  errors.flatMap(({ constraints, children }) => [...Object.values(constraints ?? {}), ...problemsIn(children ?? [])]);
