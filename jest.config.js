const { availableParallelism } = require('node:os');

/** Migrations that are cut off, stopped or raced at each of their statements. */
const CUT_OFF = ['half-applied', 'killed', 'obstacles', 'one-migrator', 'rerun'];

/** @type {import('jest').Config} */
module.exports = {
  rootDir: __dirname,
  // Without races and crashes, which take as long again: jest.faults.config.js.
  roots: ['unit', 'integration', 'migrations', 'fixtures', 'support'].map((folder) => `<rootDir>/test/${folder}`),
  testMatch: ['**/*.spec.ts'],
  testPathIgnorePatterns: ['/node_modules/', `/migrations/(${CUT_OFF.join('|')})\\.spec`],
  testEnvironment: '<rootDir>/test/support/jest/environment.ts',
  globalSetup: '<rootDir>/test/support/jest/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/jest/global-teardown.ts',
  setupFiles: ['reflect-metadata'],
  // NestJS 12 and uuid 14 ship only ES modules; Jest loads CommonJS.
  transformIgnorePatterns: ['/node_modules/(?!(@nestjs|uuid)/)'],
  transform: {
    '\\.(ts|js)$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
        module: { type: 'commonjs' },
      },
    ],
  },
  // Long enough for a machine that others load as well: it ends a test that hangs, and measures nothing.
  testTimeout: 180_000,
  // Two more than there are cores: tests wait for servers and processes.
  maxWorkers: availableParallelism() + 2,
  testSequencer: '<rootDir>/test/support/jest/longest-first.js',
};
