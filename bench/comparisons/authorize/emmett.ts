import { randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import { type Contestant } from '../../contestant';
import { type Lab } from '../../lab/lab';
import { REQUEST } from './request';

/** Emmett starts a stream with one event: no read model, no outbox, no key. Undefined where it is not installed. */
export async function emmett(lab: Lab): Promise<Contestant | undefined> {
  const library = await import('@event-driven-io/emmett-postgresql').catch(notInstalled);
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

function notInstalled(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'MODULE_NOT_FOUND' && code !== 'ERR_MODULE_NOT_FOUND') throw error;
}
