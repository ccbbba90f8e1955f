import ts from 'typescript';
import { type Exported, PublicApi } from './public-api';

/** What consumers reach of a class or an interface of ours, inherited members included. */
export interface Members {
  readonly constructors: readonly ts.Signature[];
  readonly properties: readonly ts.Symbol[];
  readonly methods: readonly ts.Symbol[];
}

export function membersOf({ symbol, declaration }: Exported, checker: ts.TypeChecker): Members {
  const instance = checker.getDeclaredTypeOfSymbol(symbol);
  const isClass = ts.isClassDeclaration(declaration);
  const ofClass = isClass ? checker.getTypeOfSymbol(symbol) : undefined;
  const statics = ofClass?.getProperties().filter(({ name }) => name !== 'prototype') ?? [];
  const all = [...statics, ...instance.getProperties()].filter(isReachable);
  const isMethod = (one: ts.Symbol) => (one.flags & ts.SymbolFlags.Method) !== 0;
  const ownConstructors = ofClass?.getConstructSignatures().filter(isOurConstructor) ?? [];
  return {
    constructors: ownConstructors,
    properties: all.filter((one) => !isMethod(one)),
    methods: all.filter(isMethod),
  };
}

export const isStatic = (member: ts.Symbol): boolean =>
  member.declarations!.some((one) => (ts.getCombinedModifierFlags(one) & ts.ModifierFlags.Static) !== 0);

const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;

function isReachable(member: ts.Symbol): boolean {
  const declarations = member.declarations ?? [];
  if (declarations.length === 0 || !declarations.every((one) => PublicApi.isOurs(one))) return false;
  const isPrivate = declarations.some((one) => (ts.getCombinedModifierFlags(one) & HIDDEN) !== 0);
  return !isPrivate && !member.name.startsWith('#');
}

function isOurConstructor({ declaration }: ts.Signature): boolean {
  if (!declaration || !PublicApi.isOurs(declaration)) return false;
  return ts.isConstructorDeclaration(declaration) && (ts.getCombinedModifierFlags(declaration) & HIDDEN) === 0;
}
