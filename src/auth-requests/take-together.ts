import { type Pool } from 'pg';
import { type DataSource } from 'typeorm';
import { Coalescer, type CoalescerLimits } from '../database/coalescer';
import { poolOf } from '../database/connections';
import { untilDecided } from '../database/repeat';
import { type Session, sessionOf } from '../database/session';
import { settingsOf } from '../database/settings';
import { nameOf, readKeys } from '../idempotency/read-key';
import { AUTHORIZE, type NewRequest, type Take, takeAlone, type Taken } from './authorize';

/** One for all that write on a pool: whose key is under way, one place must know. */
const coalescers = new WeakMap<Pool, Coalescer<NewRequest, Taken>>();

/** Those that would wait anyway by one statement, which is answered as if each had had its own. */
export const takeTogether =
  (dataSource: DataSource): Take =>
  async (request) => {
    const pool = poolOf(dataSource);
    const statements = Math.min(settingsOf(dataSource).coalescedStatements ?? 4, pool.options.max);
    if (statements === 0) return await takeAlone(sessionOf(dataSource))(request);
    let coalescer = coalescers.get(pool);
    if (!coalescer) {
      const { max, connectionTimeoutMillis } = pool.options;
      // For a place as for a connection, where each call asks for one: 0 is no limit.
      const patienceMs = connectionTimeoutMillis || Infinity;
      coalescer = coalescerOf(dataSource, { statements, spare: max - statements, patienceMs });
      coalescers.set(pool, coalescer);
    }
    return await coalescer.call(request);
  };

function coalescerOf(dataSource: DataSource, limits: CoalescerLimits): Coalescer<NewRequest, Taken> {
  const session = sessionOf(dataSource);
  return new Coalescer(
    {
      name: 'authorize',
      keyOf: nameOf,
      bytesOf: ({ encoded }) => encoded.reduce<number>((sum, value) => sum + sizeOf(value), 0),
      one: takeAlone(session),
      many: (requests, tell) => takeMany(session, requests, tell),
      // What it has taken is its own; a key that was used is used for everybody.
      isShared: (taken) => taken !== 'taken',
    },
    limits,
  );
}

/** Which keys are new the statement says; what the others stand for is read by one more, as for one request. */
async function takeMany(
  session: Session,
  requests: readonly NewRequest[],
  tell: (request: NewRequest, taken: Taken) => void,
): Promise<void> {
  let open = requests;
  await untilDecided(async () => {
    const rows = await session.rowsOfMany(
      AUTHORIZE,
      open.map(({ encoded }) => encoded),
    );
    const taken = new Set(rows.map((row) => row.auth_request_id));
    for (const request of open) if (taken.has(request.authRequestId)) tell(request, 'taken');
    open = open.filter(({ authRequestId }) => !taken.has(authRequestId));
    if (open.length === 0) return true;
    const used = await readKeys(session, open);
    const keyOf = (request: NewRequest) => used.get(nameOf(request));
    for (const request of open) if (keyOf(request)) tell(request, keyOf(request)!);
    open = open.filter((request) => !keyOf(request));
    return open.length === 0 || undefined;
  });
}

const sizeOf = (value: unknown): number => (typeof value === 'string' || Buffer.isBuffer(value) ? value.length : 8);
