/** Compiler options of a NestJS service, as its command line writes them. */
export const NEST_OPTIONS = {
  target: 'ES2023',
  strict: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  esModuleInterop: true,
  skipLibCheck: true,
  types: ['node'],
};

export const MODES = {
  esm: { module: 'nodenext', moduleResolution: 'nodenext' },
  cjs: { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0' },
};

/** Everything that TypeScript can be strict about, the declarations of packages included. */
export const STRICTEST = {
  target: 'ES2023',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  noUncheckedSideEffectImports: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
};
