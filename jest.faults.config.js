const config = require('./jest.config');

/**
 * Races, crashes and failovers, against servers of their own, and migrations that are cut off at each of their statements:
 * `npm run test:faults`.
 */
module.exports = {
  ...config,
  roots: ['faults', 'migrations', 'support'].map((folder) => `<rootDir>/test/${folder}`),
  testMatch: [
    '**/test/faults/*.spec.ts',
    '**/test/migrations/{half-applied,killed,obstacles,one-migrator,rerun}.spec.ts',
  ],
  testPathIgnorePatterns: ['/node_modules/'],
};
