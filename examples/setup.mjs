// Packs the package as it is published, installs it into each example, and builds them.
import { execFileSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const HERE = import.meta.dirname;
const SERVICES = ['authorization-api', 'auth-processor-worker'];

const npm = (folder, ...args) =>
  execFileSync('npm', args, { cwd: join(HERE, folder), encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();

console.log('Packing payment-events-db …');
const tarball = npm('.', 'pack', '..', '--silent');
renameSync(join(HERE, tarball), join(HERE, 'payment-events-db.tgz'));

for (const folder of ['.', ...SERVICES]) {
  console.log(`Installing into examples/${folder} …`);
  // npm takes a tarball of the same name for the one that it has installed before.
  rmSync(join(HERE, folder, 'node_modules/payment-events-db'), { recursive: true, force: true });
  rmSync(join(HERE, folder, 'node_modules/.package-lock.json'), { force: true });
  npm(folder, 'install', '--no-audit', '--no-fund', '--silent');
}
for (const service of SERVICES) {
  console.log(`Building examples/${service} …`);
  npm(service, 'run', '--silent', 'build');
}
