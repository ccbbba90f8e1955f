const config = require('./jest.config');

/** Long runs with processes and servers of their own: `npm run test:chaos`. No part of `npm test`. */
module.exports = {
  ...config,
  roots: ['<rootDir>/test/chaos'],
  testMatch: ['**/*.chaos.ts'],
  // Each has processes enough for a machine.
  maxWorkers: 1,
};
