import { join } from 'node:path';
import { ensureDevelopmentServer } from '../../src/cli/development/embedded';

/** As `npm run db:start` has it. */
const dataDirectory = join(__dirname, '..', '..', '.postgres', 'data');

/** Makes the default address true where `DATABASE_URL` names no other: starts the developer's server if nothing listens. */
export async function ensureServer(): Promise<void> {
  if (process.env.DATABASE_URL) return;
  if ((await ensureDevelopmentServer({ dataDirectory })) === 'started') {
    console.log('Nothing answered at localhost:5432: started a server there (npm run db:stop ends it).');
  }
}
