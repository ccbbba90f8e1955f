import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Pool } from 'pg';
import { type Contestant } from '../../contestant';
import { type Lab } from '../../lab/lab';
import { BENCH } from '../../paths';
import { REQUEST } from './request';

/** Emmett starts a stream with one event: no read model, no outbox, no key. Undefined where it is not installed. */
export async function emmett(lab: Lab): Promise<Contestant | undefined> {
  const library = load();
  if (!library) {
    lab.notice('Emmett is left out, since it is not installed: `npm install --prefix bench`');
    return undefined;
  }
  const connectionString = await lab.emptyDatabase();
  const pool = new Pool({ connectionString, max: lab.settings.connections });
  lab.atEnd(() => pool.end());
  const store = library.getPostgreSQLEventStore(connectionString, { connectionOptions: { pool } });
  lab.atEnd(() => store.close());
  await store.schema.migrate();
  return {
    name: 'emmett',
    title: 'for comparison: Emmett 0.42 appending one event',
    operate: () => {
      const authRequestId = randomUUID();
      const data = { ...REQUEST, authRequestId, restaurantId: lab.restaurants[0] };
      const event = { type: 'AuthRequestCreated', data };
      return store.appendToStream(`auth_request-${authRequestId}`, [event], {
        expectedStreamVersion: 'STREAM_DOES_NOT_EXIST',
      });
    },
  };
}

function load(): typeof import('@event-driven-io/emmett-postgresql') | undefined {
  try {
    return createRequire(join(BENCH, 'package.json'))('@event-driven-io/emmett-postgresql');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
}
