import ts from 'typescript';

/** What a doc comment says, as it was written. */
export interface DocComment {
  readonly text: string;
  readonly params: ReadonlyMap<string, string>;
  readonly returns: string;
  readonly throws: readonly string[];
  readonly examples: readonly string[];
}

/** The comment of a symbol, or of what it overrides or implements where it has none of its own. */
export function docComment(documented: ts.Symbol | ts.Signature, checker: ts.TypeChecker): DocComment {
  const tags = 'escapedName' in documented ? documented.getJsDocTags(checker) : documented.getJsDocTags();
  const all = (name: string) => tags.filter((tag) => tag.name === name).map(({ text }) => textOf(text));
  return {
    text: textOf(documented.getDocumentationComment(checker)),
    params: new Map(all('param').map((text) => [text.split(/\s/, 1)[0]!, text.replace(/^\S+\s*/, '')])),
    returns: all('returns')[0] ?? '',
    throws: all('throws').map((text) => text.replace(/^\{(\w+)\}/, '$1')),
    examples: all('example'),
  };
}

const textOf = (parts: readonly ts.SymbolDisplayPart[] | undefined) =>
  ts.displayPartsToString([...(parts ?? [])]).trim();
