import ts from 'typescript';
import { codeBlock, table } from '../markdown';
import { type DocComment, docComment } from './doc-comment';
import { type Links } from './links';
import { isStatic, membersOf } from './members';
import { type Exported, type PublicApi } from './public-api';
import { expandedText, isResolved, propertyTypeText, signatureText, typeOfAlias } from './type-text';

/** Writes down what is exported, one section each. */
export class Describer {
  constructor(
    private readonly api: PublicApi,
    private readonly links: Links,
    private readonly rules: ReadonlyMap<string, ReadonlyMap<string, string>>,
    private readonly imports: (one: Exported) => string,
  ) {}

  section(one: Exported): string {
    const comment = docComment(one.symbol, this.api.checker);
    return joined(
      `## ${this.api.headingOf(one)}`,
      this.imports(one),
      this.links.inText(comment.text),
      ...this.#body(one, comment),
    );
  }

  #body(one: Exported, comment: DocComment): string[] {
    const { declaration, symbol } = one;
    if (ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)) {
      return this.#members(one, comment);
    }
    if (ts.isTypeAliasDeclaration(declaration)) {
      const text = `type ${one.name} = ${this.#aliasText(declaration)};`.replace('= \n', '=\n');
      return [codeBlock(text), this.#seeAlso(text, one.name), ...comment.examples.map(toCodeBlock)];
    }
    const [signature] = this.api.checker.getTypeOfSymbol(symbol).getCallSignatures();
    if (signature) return this.#signatures(one.name, symbol, { withText: false });
    return [codeBlock(`const ${one.name}${valueOf(declaration) ?? `: ${propertyTypeText(symbol, this.api.checker)}`}`)];
  }

  #members(one: Exported, { examples }: DocComment): string[] {
    const { checker } = this.api;
    const { constructors, properties, methods } = membersOf(one, checker);
    const made = constructors.flatMap((signature) => {
      const text = `new ${one.name}${signatureText(signature, checker)}`;
      const comment = docComment(signature, checker);
      return [codeBlock(text), this.#seeAlso(text, one.name), this.links.inText(comment.text), ...this.#tags(comment)];
    });
    return [
      ...made,
      ...examples.map(toCodeBlock),
      this.#properties(one.name, properties),
      ...methods.map((method) => this.#method(one.name, method)),
    ];
  }

  #properties(name: string, properties: readonly ts.Symbol[]): string {
    if (properties.length === 0) return '';
    const { checker } = this.api;
    const rules = this.rules.get(name);
    const rows = properties.map((property) => {
      const optional = property.flags & ts.SymbolFlags.Optional ? '?' : '';
      const called = isStatic(property) ? `${name}.${property.name}` : property.name;
      const { text } = docComment(property, checker);
      const type = this.links.inType(propertyTypeText(property, checker));
      return [`\`${called}${optional}\``, type, rules?.get(property.name) ?? '', this.links.inText(text)];
    });
    return table(['property', 'type', 'allowed', 'meaning'], rows);
  }

  #method(owner: string, method: ts.Symbol): string {
    return joined(`### ${owner}: ${nameOf(method)}`, ...this.#signatures(nameOf(method), method, { withText: true }));
  }

  #signatures(name: string, symbol: ts.Symbol, { withText }: { withText: boolean }): string[] {
    const { checker } = this.api;
    const optional = symbol.flags & ts.SymbolFlags.Optional ? '?' : '';
    const type = checker.getNonNullableType(checker.getTypeOfSymbol(symbol));
    const prefix = isStatic(symbol) ? 'static ' : '';
    const texts = type.getCallSignatures().map((one) => `${prefix}${name}${optional}${signatureText(one, checker)}`);
    const comment = docComment(symbol, checker);
    const code = texts.join('\n');
    return [
      codeBlock(code),
      this.#seeAlso(code, name),
      ...(withText ? [this.links.inText(comment.text)] : []),
      ...this.#tags(comment),
      ...comment.examples.map(toCodeBlock),
    ];
  }

  #tags({ params, returns, throws }: DocComment): string[] {
    const list = (items: string[]) => items.map((text) => `- ${text.replace(/\s*\n\s*/g, ' ')}`).join('\n');
    return [
      list(
        [...params].filter(([, text]) => text !== '').map(([name, text]) => `\`${name}\`: ${this.links.inText(text)}`),
      ),
      returns && `Returns ${this.links.inText(returns)}`,
      throws.length > 0 ? `Throws:\n\n${list(throws.map((text) => this.links.inThrows(text)))}` : '',
    ];
  }

  #seeAlso(text: string, itself: string): string {
    const names = this.links.namesIn(text).filter((name) => name !== itself);
    return names.length > 0 ? `Types: ${names.map((name) => this.links.to(name)).join(', ')}` : '';
  }

  /** As it is written, comments included; where that needs what consumers cannot see, as the compiler resolves it. */
  #aliasText(alias: ts.TypeAliasDeclaration): string {
    const { type } = alias;
    const written = type.getText();
    if (!isResolved(type)) return written.startsWith('|') ? `\n  ${written}` : written;
    const isExported = (symbol: ts.Symbol) => this.api.isExported(symbol);
    return expandedText(typeOfAlias(alias, this.api.checker), { checker: this.api.checker, isExported });
  }
}

const joined = (...parts: readonly string[]) => parts.filter(Boolean).join('\n\n');

const nameOf = ({ name }: ts.Symbol) =>
  name.startsWith('__@') ? `[Symbol.${name.slice(3).replace(/@\d+$/, '')}]` : name;

const toCodeBlock = (example: string) => (example.startsWith('```') ? example : codeBlock(example));

/** Of a constant that is short enough to be shown. */
function valueOf(declaration: ts.Declaration): string | undefined {
  const text = (declaration as ts.VariableDeclaration).initializer?.getText().replace(/ as const$/, '');
  const isPlain = text !== undefined && text.length <= 90 && /^[\d'[{]/.test(text);
  return isPlain ? ` = ${text}` : undefined;
}
