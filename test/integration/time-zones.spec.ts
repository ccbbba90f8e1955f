import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { decodeEvent } from '../../src/event-store/event-codec';
import { anAuthorization, aRequest } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';
import { compiled } from '../support/jest/compiled';

const database = useTestDatabase();
const CLIENT = compiled('test/fixtures/instants-client.fixture.ts');

/** New York's clocks skip an hour before the first and show the second and third at the same time of day. */
const INSTANTS = ['2030-03-10T07:30:00.123Z', '2030-11-03T05:30:00.456Z', '2030-11-03T06:30:00.456Z'];

interface Told {
  /** In minutes: what the client's zone was behind UTC in 1970. */
  offset: number;
  seen: { request: string[]; stored: string[]; lease: { expiresAt: string } };
}

async function askClient(zone: string, authRequestId: string, key: string): Promise<Told> {
  const args = [CLIENT, database.url, authRequestId, key, ...INSTANTS];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, TZ: zone } });
  return JSON.parse(stdout) as Told;
}

it("clients in New York and Kolkata see the same instants and write the same, whatever the database's own zone", async () => {
  const { requests, lease, authRequestId } = await aRequest(await database.dataSource(), { started: true });
  await requests.recordAuthorized(lease, anAuthorization({ authorizedAt: new Date(INSTANTS[0]!) }));
  await database.query(
    'UPDATE auth_request_state SET completed_at = $2::text::timestamptz WHERE auth_request_id = $1',
    [authRequestId, INSTANTS[1]],
  );
  await database.query(
    `UPDATE auth_processing_locks SET expires_at = $2::text::timestamptz, locked_at = '2020-01-01Z' WHERE auth_request_id = $1`,
    [authRequestId, INSTANTS[2]],
  );

  const clients: Told[] = [];
  for (const zone of ['UTC', 'Australia/Lord_Howe']) {
    await database.query(`ALTER DATABASE ${database.name} SET timezone TO '${zone}'`);
    clients.push(
      ...(await Promise.all([
        askClient('America/New_York', authRequestId, `New York, ${zone}`),
        askClient('Asia/Kolkata', authRequestId, `Kolkata, ${zone}`),
      ])),
    );
  }
  expect(clients.map(({ offset }) => offset)).toEqual([300, -330, 300, -330]);

  const first = clients[0]!.seen;
  expect(first.request[2]).toBe(INSTANTS[1]);
  expect(first.lease.expiresAt).toBe(INSTANTS[2]);
  const [truth] = await database.query<{ created: string; stored: string[] }>(
    `SELECT floor(extract(epoch FROM state.created_at) * 1000) AS created,
            array_agg(floor(extract(epoch FROM event.created_at) * 1000)::text ORDER BY sequence_number) AS stored
     FROM auth_request_state AS state JOIN payment_events AS event ON aggregate_id = auth_request_id
     WHERE auth_request_id = $1 GROUP BY 1`,
    [authRequestId],
  );
  expect(Date.parse(first.request[0]!)).toBe(Number(truth!.created));
  expect(first.stored.map((instant) => Date.parse(instant))).toEqual(truth!.stored.map(Number));
  for (const { seen } of clients.slice(1)) expect(seen).toEqual(first);

  const written = await database.query<{ instants: string[] }>(
    `SELECT array_agg(to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') ORDER BY expires_at) AS instants
     FROM auth_idempotency_keys WHERE created_at = '2020-01-01T00:00:00Z' GROUP BY split_part(idempotency_key, ' 20', 1)`,
  );
  expect(written).toEqual(Array.from({ length: 4 }, () => ({ instants: INSTANTS })));
});

it('what they write of the present is of the present', async () => {
  const rows = await database.query<{ zone: string; age: number; lease: number; event_data: Buffer; event_id: string }>(
    `SELECT worker_id AS zone, extract(epoch FROM clock_timestamp() - state.created_at)::float AS age,
            extract(epoch FROM expires_at - locked_at)::float AS lease, event_data, event_id
     FROM auth_processing_locks AS lock JOIN auth_request_state AS state USING (auth_request_id)
     JOIN payment_events AS event ON aggregate_id = auth_request_id
     WHERE worker_id LIKE '%, %'`,
  );
  expect(rows).toHaveLength(4);
  for (const { age, lease, event_data, event_id } of rows) {
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(600);
    expect(lease).toBeCloseTo(60, 0);
    const event = decodeEvent('AuthRequestCreated', event_data, { eventId: event_id });
    expect(Math.abs(Date.now() - (event.data as { createdAt: Date }).createdAt.getTime())).toBeLessThan(600_000);
  }
});
