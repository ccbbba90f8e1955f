const config = require('./jest.config');

/** Races, crashes and failovers, against servers of their own: `npm run test:faults`. */
module.exports = { ...config, roots: ['faults', 'support'].map((folder) => `<rootDir>/test/${folder}`) };
