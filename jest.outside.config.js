const config = require('./jest.config');

/**
 * The package as it is built and packed, and in fresh projects, as its users have it: `npm run test:outside`. Their packages
 * come from the registry. And the benchmarks, which nobody else runs.
 */
module.exports = { ...config, roots: ['<rootDir>/test/outside'], testTimeout: 600_000 };
