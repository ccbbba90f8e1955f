import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ts from 'typescript';

const ROOT = join(__dirname, '../../..');

/** A string of the source, as it is at run time; `…` stands for each value that is put in. */
export interface SourceText {
  /** `src/errors.ts:42` */
  readonly at: string;
  readonly text: string;
}

/** Every string of the TypeScript files in a folder that may be said to somebody: no names of modules. */
export const textsOf = (folder: string): SourceText[] => filesOf(folder).flatMap(textsIn);

/** Every name that the code of a folder declares or uses. */
export function namesOf(folder: string): Set<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  filesOf(folder).forEach((path) => visit(parse(path)));
  return names;
}

const filesOf = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('generated/'))
    .map((file) => join(folder, file))
    .sort();

const parse = (path: string) =>
  ts.createSourceFile(path, readFileSync(join(ROOT, path), 'utf8'), ts.ScriptTarget.Latest, true);

function textsIn(path: string): SourceText[] {
  const source = parse(path);
  const texts: SourceText[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    const text = textOf(node);
    if (text === undefined) return ts.forEachChild(node, visit);
    texts.push({ at: `${path}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`, text });
    valuesIn(node).forEach(visit);
  };
  visit(source);
  return texts;
}

/** Of a literal, or of literals that `+` joins. */
function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  }
  if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.PlusToken) return undefined;
  const [left, right] = [textOf(node.left), textOf(node.right)];
  return left === undefined && right === undefined ? undefined : `${left ?? '…'}${right ?? '…'}`;
}

/** What is put into it, which may have texts too. */
function valuesIn(node: ts.Node): ts.Node[] {
  if (ts.isTemplateExpression(node)) return node.templateSpans.map(({ expression }) => expression);
  if (!ts.isBinaryExpression(node)) return [];
  return [node.left, node.right].flatMap((side) => (textOf(side) === undefined ? [side] : valuesIn(side)));
}
