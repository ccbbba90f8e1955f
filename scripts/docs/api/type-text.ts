import ts from 'typescript';

/** A declaration's parameters and result as they are written, without initial values. */
export function signatureText(signature: ts.Signature, checker: ts.TypeChecker): string {
  const { declaration } = signature;
  if (!declaration || !('parameters' in declaration)) return checker.signatureToString(signature);
  const params = (declaration as ts.SignatureDeclaration).parameters.map(parameterText(checker));
  const typeParams = declaration.typeParameters?.map((one) => one.getText()).join(', ');
  const result = ts.isConstructorDeclaration(declaration)
    ? ''
    : `: ${declaration.type ? unbroken(declaration.type.getText()) : typeText(signature.getReturnType(), checker)}`;
  const generic = typeParams ? `<${typeParams}>` : '';
  const line = `${generic}(${params.join(', ')})${result}`;
  return line.length <= 90 ? line : `${generic}(\n${params.map((one) => `  ${one},\n`).join('')})${result}`;
}

const parameterText = (checker: ts.TypeChecker) => (parameter: ts.ParameterDeclaration) => {
  const { name, dotDotDotToken, questionToken, initializer, type } = parameter;
  const called = ts.isIdentifier(name) ? name.text : 'options';
  const optional = (questionToken ?? initializer) ? '?' : '';
  const said = type ? unbroken(type.getText()) : typeText(checker.getTypeAtLocation(parameter), checker);
  return `${dotDotDotToken ? '...' : ''}${called}${optional}: ${said}`;
};

/** The type of a property as it is written, or else as the compiler infers it. */
export function propertyTypeText(property: ts.Symbol, checker: ts.TypeChecker): string {
  const declaration = property.valueDeclaration ?? property.declarations![0]!;
  const written = 'type' in declaration ? (declaration.type as ts.TypeNode | undefined) : undefined;
  if (written && !isResolved(written)) return unbroken(written.getText());
  return typeText(checker.getTypeOfSymbol(property), checker);
}

/** Whether it is written by names that consumers need not know: shown is what the compiler makes of it. */
export const isResolved = (type: ts.TypeNode): boolean => /\b(typeof|keyof)\b/.test(type.getText());

/** A type with everything in it that has no name for consumers. */
export function expandedText(
  type: ts.Type,
  { checker, isExported }: { checker: ts.TypeChecker; isExported: (symbol: ts.Symbol) => boolean },
): string {
  const expand = (one: ts.Type, indent: string): string => {
    if (one.isUnion() && one.types.every(isNameless)) {
      return one.types.map((member) => `\n  ${indent}| ${expand(member, `${indent}    `)}`).join('');
    }
    if (one.isUnion() && one.types.some(isNameless)) {
      return one.types
        .toReversed()
        .map((member) => expand(member, indent))
        .join(' | ');
    }
    if (
      !isNameless(one) ||
      (one.aliasSymbol && isExported(one.aliasSymbol)) ||
      checker.getIndexInfosOfType(one).length > 0
    ) {
      return typeText(one, checker);
    }
    const properties = one.getProperties().map((property) => {
      const optional = property.flags & ts.SymbolFlags.Optional ? '?' : '';
      return `${indent}  ${property.name}${optional}: ${expand(checker.getTypeOfSymbol(property), `${indent}  `)};\n`;
    });
    return `{\n${properties.join('')}${indent}}`;
  };
  return expand(type, '');
}

/** How the compiler calls what is written in braces. */
const NAMELESS: string = ts.InternalSymbolName.Type;

const isNameless = ({ flags, symbol }: ts.Type) => (flags & ts.TypeFlags.Object) !== 0 && symbol?.name === NAMELESS;

/** An alias as it is used without type arguments, which is where their defaults count. */
export function typeOfAlias(alias: ts.TypeAliasDeclaration, checker: ts.TypeChecker): ts.Type {
  const find = (node: ts.Node): ts.TypeReferenceNode | undefined =>
    ts.isTypeReferenceNode(node) && node.typeName.getText() === alias.name.text && !node.typeArguments
      ? node
      : ts.forEachChild(node, find);
  const use = alias.typeParameters && find(alias.getSourceFile());
  return checker.getTypeAtLocation(use ?? alias.name);
}

const typeText = (type: ts.Type, checker: ts.TypeChecker) =>
  checker.typeToString(type, undefined, ts.TypeFormatFlags.NoTruncation).replaceAll('"', "'");

const unbroken = (text: string) =>
  text
    .replace(/\/\*\*[\s\S]*?\*\//g, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/^\| /, '');
