const { relative, sep } = require('node:path');
const Sequencer = require('@jest/test-sequencer').default;
const LONGEST = require('./longest-specs.json');

const TESTS = `${__dirname}/../..`;

/**
 * Jest starts first what took longest the last time, so that no core is idle at the end while one file still runs. In a fresh
 * checkout it knows of no last time, and would go by the size of the files: here it goes by a list of those that take long.
 */
module.exports = class LongestFirst extends Sequencer {
  time(test) {
    const place = LONGEST.indexOf(relative(TESTS, test.path).replaceAll(sep, '/'));
    // In milliseconds. A file that is not listed is over before any of these.
    return super.time(test) ?? (place < 0 ? 0 : (LONGEST.length - place) * 10_000);
  }
};
