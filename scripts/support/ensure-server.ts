import { ensureDevelopmentServer } from '../development-server';

/** Makes the default address true where `DATABASE_URL` names no other: starts the developer's server if nothing listens. */
export async function ensureServer(): Promise<void> {
  if (process.env.DATABASE_URL) return;
  if ((await ensureDevelopmentServer()) === 'started') {
    console.log('Nothing answered at localhost:5432: started a server there (npm run db:stop ends it).');
  }
}
