import ts from 'typescript';
import { docComment } from './doc-comment';
import { membersOf } from './members';
import { type Exported, PublicApi } from './public-api';
import { isResolved } from './type-text';

/** Exports and methods without a doc comment, and types that an export shows and no consumer can import. */
export function problemsOf(api: PublicApi): string[] {
  return api.exports.flatMap((one) => [...undocumented(one, api), ...hiddenTypes(one, api)]);
}

function undocumented(one: Exported, { checker }: PublicApi): string[] {
  const { symbol, declaration, name } = one;
  const isShape = ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration);
  const methods = isShape ? membersOf(one, checker).methods : [];
  return [{ name, symbol }, ...methods.map((method) => ({ name: `${name}.${method.name}`, symbol: method }))]
    .filter((documented) => docComment(documented.symbol, checker).text === '')
    .map((documented) => `${documented.name} is exported and has no doc comment.`);
}

function hiddenTypes(one: Exported, api: PublicApi): string[] {
  const found = new Set<string>();
  const look = (node: ts.Node): void => {
    if (isHidden(node)) return;
    if (ts.isTypeReferenceNode(node) && !isVisible(node.typeName, api)) found.add(node.typeName.getText());
    ts.forEachChild(node, look);
  };
  look(one.declaration);
  return [...found].map((type) => `${one.name} shows the type ${type}, which is not exported.`);
}

/** What consumers do not see of a declaration: code, initial values, what is private, and types that are resolved for them. */
function isHidden(node: ts.Node): boolean {
  if (ts.isArrowFunction(node)) return false;
  if (ts.isBlock(node) || ts.isDecorator(node) || (ts.isExpression(node) && !ts.isExpressionWithTypeArguments(node))) {
    return !ts.isIdentifier(node);
  }
  if (ts.isTypeAliasDeclaration(node)) return isResolved(node.type);
  if (ts.isTypeOperatorNode(node)) return isResolved(node);
  // Consumers see the overloads.
  if (ts.isMethodDeclaration(node) && node.body && isOverloaded(node)) return true;
  const { name } = node as ts.NamedDeclaration;
  if (name && ts.isPrivateIdentifier(name)) return true;
  const isMember = ts.isClassElement(node) || ts.isParameter(node);
  return (
    isMember && (ts.getCombinedModifierFlags(node) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0
  );
}

const isOverloaded = ({ parent, name }: ts.MethodDeclaration) =>
  ts.isClassDeclaration(parent) && parent.members.filter((one) => one.name?.getText() === name.getText()).length > 1;

function isVisible(name: ts.EntityName, api: PublicApi): boolean {
  const found = api.checker.getSymbolAtLocation(name);
  if (!found) return true;
  const symbol = found.flags & ts.SymbolFlags.Alias ? api.checker.getAliasedSymbol(found) : found;
  if (symbol.flags & ts.SymbolFlags.TypeParameter) return true;
  return !(symbol.declarations ?? []).some((one) => PublicApi.isOurs(one)) || api.isExported(symbol);
}
