import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Pool } from 'pg';
import { newId } from '../../../src/database/new-id';
import { type Contestant, underEach } from '../../contestant';
import { type Lab, MOST_CONNECTIONS, STAYS_CONNECTED } from '../../lab/lab';
import { BENCH } from '../../paths';
import { REQUEST } from './request';

/** Emmett starts a stream with one event: no read model, no outbox, no key. Empty where it is not installed. */
export async function emmett(lab: Lab): Promise<Contestant[]> {
  const library = load();
  if (!library) {
    lab.notice('Emmett is left out, since it is not installed: `npm install --prefix bench`');
    return [];
  }
  const connectionString = await lab.emptyDatabase();
  const pool = new Pool({ connectionString, max: MOST_CONNECTIONS, ...STAYS_CONNECTED });
  lab.atEnd(() => pool.end());
  const store = library.getPostgreSQLEventStore(connectionString, { connectionOptions: { pool } });
  lab.atEnd(() => store.close());
  await store.schema.migrate();
  return underEach(lab.settings.callers, {
    name: 'emmett',
    title: 'Emmett 0.42 appending one event',
    operate: () => {
      const authRequestId = newId();
      const data = { ...REQUEST, authRequestId, restaurantId: lab.restaurants[0] };
      const event = { type: 'AuthRequestCreated', data };
      return store.appendToStream(`auth_request-${authRequestId}`, [event], {
        expectedStreamVersion: 'STREAM_DOES_NOT_EXIST',
      });
    },
  });
}

/** As much of it as is used: the compiler need not have it installed. */
interface Emmett {
  getPostgreSQLEventStore(
    connectionString: string,
    options: { connectionOptions: { pool: Pool } },
  ): {
    readonly schema: { migrate(): Promise<unknown> };
    appendToStream(stream: string, events: object[], options: { expectedStreamVersion: string }): Promise<unknown>;
    close(): Promise<void>;
  };
}

function load(): Emmett | undefined {
  try {
    return createRequire(join(BENCH, 'package.json'))('@event-driven-io/emmett-postgresql') as Emmett;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
}
