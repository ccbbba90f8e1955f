/** The version of this package, as package.json says it. Stated here, since a bundler leaves that file behind. */
export const VERSION = '0.1.0';
