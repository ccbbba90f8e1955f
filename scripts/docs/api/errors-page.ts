import ts from 'typescript';
import { code, table } from '../markdown';
import { docComment } from './doc-comment';
import { type Links } from './links';
import { membersOf } from './members';
import { type Exported, type PublicApi } from './public-api';
import { propertyTypeText } from './type-text';

/** What every error has, or what no consumer calls. */
const COMMON = ['code', 'retryable', 'name', 'cause'];

/** One section a class of errors: they are few words each. */
export function describeError(one: Exported, api: PublicApi, links: Links): string {
  const { checker } = api;
  const { properties } = membersOf(one, checker);
  const valueOf = (name: string) => {
    const property = properties.find((candidate) => candidate.name === name)!;
    return checker.getTypeOfSymbol(property);
  };
  const errorCode = valueOf('code');
  const isRetryable = checker.typeToString(valueOf('retryable')) === 'true';
  const facts = errorCode.isStringLiteral()
    ? `Code ${code(errorCode.value)}, ${isRetryable ? '' : 'not '}retryable${one.module === 'payment-events-db' ? '' : `, from \`${one.module}\``}.`
    : '';
  const own = properties.filter(({ name }) => !COMMON.includes(name));
  const rows = own.map((property) => [
    code(`${property.name}${property.flags & ts.SymbolFlags.Optional ? '?' : ''}`),
    links.inType(propertyTypeText(property, checker)),
    links.inText(docComment(property, checker).text),
  ]);
  return [
    `## ${one.name}`,
    facts,
    links.inText(docComment(one.symbol, checker).text),
    rows.length > 0 ? table(['property', 'type', 'meaning'], rows) : '',
  ]
    .filter(Boolean)
    .join('\n\n');
}
