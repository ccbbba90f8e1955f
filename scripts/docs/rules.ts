import { validateSync } from 'class-validator';
import { rulesOf } from '../../src/validation/keeps-rules';
import { withSeparators } from './markdown';

/** What each property of a class may hold, in the words in which anything else is refused. */
export function allowedIn(Class: new () => object): ReadonlyMap<string, string> {
  // A symbol is nothing that any rule allows.
  const nothingAllowed = Object.create(Class.prototype as object) as Record<string, symbol>;
  for (const { property } of rulesOf(Class)) nothingAllowed[property] = Symbol(property);
  const said = validateSync(nothingAllowed).map(({ property, constraints = {} }) => {
    return [property, inWords(Object.values(constraints).join('; ').replaceAll(`${property} must `, ''))] as const;
  });
  return new Map(said);
}

/** What stands behind `must`, as Markdown. */
export const inWords = (refusal: string): string =>
  withSeparators(refusal)
    .replace(/\bbe /g, '')
    .replace(/^look like (\S+?)(,|$)/, 'such as `$1`$2')
    .replace('one of the following values:', 'one of')
    .replace(/match (\/.*\/\w*) regular expression/, 'of the form `$1`')
    .replace('__proto__', '`__proto__`');
