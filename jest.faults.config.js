const config = require('./jest.config');

const [nodeModules, cutOff] = config.testPathIgnorePatterns;

/**
 * Races, crashes and failovers, against servers of their own, and migrations that are cut off at each of their statements:
 * `npm run test:faults`. All that `npm test` leaves out.
 */
module.exports = {
  ...config,
  roots: ['faults', 'migrations', 'support'].map((folder) => `<rootDir>/test/${folder}`),
  testMatch: undefined,
  testRegex: ['/faults/.*\\.spec\\.ts$', `${cutOff}\\.ts$`],
  testPathIgnorePatterns: [nodeModules],
};
