const config = require('./jest.config');

/**
 * The packed package in fresh projects, as its users have them: `npm run test:outside`. Their packages come from the
 * registry.
 */
module.exports = { ...config, roots: ['<rootDir>/test/outside'], testTimeout: 600_000 };
