import { v4 as uuidv4 } from 'uuid';
import { Outbox } from '../../../src/outbox/outbox';
import { type DatabaseOfFile } from '../database/use-test-database';
import { anAuthorizeCommand, RESTAURANT } from '../requests/auth-requests';

/** What the service of docs/how-to/use-in-nestjs.md is started with. */
export const SERVICE_ENVIRONMENT = {
  PAYMENT_EVENTS_DB_APPLICATION_NAME: 'payments service',
  // For how long a test of a time-out waits.
  PAYMENT_EVENTS_DB_LOCK_TIMEOUT_MS: '200',
};

/**
 * What that service promises over HTTP, on any version of NestJS and any adapter.
 *
 * @param url where it listens
 */
export function promisesOverHttp(database: DatabaseOfFile, url: () => string): void {
  const authorizations = () => `${url()}/restaurants/${RESTAURANT}/authorizations`;
  const post = (headers: Record<string, string>, changes: object = {}) => {
    const { paymentToken, amountCents, currency } = anAuthorizeCommand();
    return fetch(authorizations(), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ paymentToken, amountCents, currency, ...changes }),
    });
  };
  const withKey = (key: string) => ({ 'Idempotency-Key': `"${key}"` });
  const problemIn = async (response: Response) => ({
    contentType: response.headers.get('Content-Type')?.replace(/; charset=utf-8$/i, ''),
    retryAfter: response.headers.get('Retry-After'),
    body: await response.json(),
  });
  const aProblem = (body: object, retryAfter: string | null = null) => ({
    contentType: 'application/problem+json',
    retryAfter,
    body,
  });

  test('a request is accepted once under its key, with quotes or without, and can be read', async () => {
    const key = uuidv4();
    const [first, again] = [await post(withKey(key)), await post({ 'Idempotency-Key': key })];
    expect([first.status, again.status]).toEqual([202, 202]);
    const receipt = (await first.json()) as { authRequestId: string };
    expect(receipt).toMatchObject({ status: 'PENDING', replayed: false });
    expect(await again.json()).toEqual({ ...receipt, replayed: true });
    const read = await fetch(`${authorizations()}/${receipt.authRequestId}`);
    expect(await read.json()).toEqual({ authRequestId: receipt.authRequestId, status: 'PENDING' });
  });

  test.each([
    ['without a key', {}, 'must be sent'],
    ['with a key that is too long', { 'Idempotency-Key': 'k'.repeat(256) }, 'must have 1 to 255 characters'],
  ])('a request %s is a problem of the client', async (_what, headers: Record<string, string>, problem) => {
    const response = await post(headers);
    expect(response.status).toBe(400);
    expect(await problemIn(response)).toEqual(
      aProblem({
        ...{ title: 'Bad Request', status: 400, detail: `Idempotency-Key: ${problem}.` },
        ...{ code: 'INVALID_COMMAND', problems: [problem] },
      }),
    );
  });

  test('what is wrong with a body is named, and not repeated', async () => {
    const problem = await problemIn(await post(withKey(uuidv4()), { currency: 'secret' }));
    expect(problem).toMatchObject(
      aProblem({ status: 400, problems: [expect.stringMatching(/^currency must be three letters/)] }),
    );
    expect(JSON.stringify(problem)).not.toContain('secret');
  });

  test('a key that belongs to another request is 422, and an unknown request 404', async () => {
    const key = uuidv4();
    await post(withKey(key));
    const reused = await post(withKey(key), { amountCents: 1 });
    expect(reused.status).toBe(422);
    expect(await problemIn(reused)).toMatchObject(aProblem({ status: 422, code: 'IDEMPOTENCY_KEY_REUSE' }));
    const unknown = await fetch(`${authorizations()}/${uuidv4()}`);
    expect(unknown.status).toBe(404);
    expect(await problemIn(unknown)).toMatchObject(
      aProblem({ title: 'Not Found', status: 404, code: 'AUTH_REQUEST_NOT_FOUND' }),
    );
  });

  test('what may pass by itself is 503 with the time to wait, and says nothing of the database', async () => {
    const other = await database.connect();
    await other.query('BEGIN; LOCK TABLE auth_request_state');
    const response = await post(withKey(uuidv4()));
    await other.query('ROLLBACK');
    expect(response.status).toBe(503);
    const problem = await problemIn(response);
    expect(problem).toMatchObject(
      aProblem({ title: 'Service Unavailable', status: 503, code: 'DATABASE_TIMEOUT' }, '1'),
    );
    expect(JSON.stringify(problem)).not.toMatch(/lock|statement|55P03/);
  });

  test('it is ready, and what waits in the outbox is seen', async () => {
    const ready = await fetch(`${url()}/health/ready`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({
      status: 'ok',
      details: { database: { status: 'up' }, migrations: { status: 'up' } },
    });
    await database.query('DELETE FROM outbox');
    const outbox = new Outbox(await database.dataSource());
    await (
      await database.dataSource()
    ).transaction((manager) =>
      outbox.enqueue(manager, {
        ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT },
        ...{ messageType: 'auth_request_queued', payload: Buffer.of() },
      }),
    );
    const up = await fetch(`${url()}/health/payments`);
    expect(up.status).toBe(200);
    expect(await up.json()).toMatchObject({
      details: { outbox: { status: 'up', pending: 1 }, holds: { status: 'up' } },
    });
    await database.query(`UPDATE outbox SET failed_at = now(), attempts = 1`);
    const down = await fetch(`${url()}/health/payments`);
    expect(down.status).toBe(503);
    expect(await down.json()).toMatchObject({ error: { outbox: { status: 'down', failed: 1 } } });
    await database.query('DELETE FROM outbox');
  });
}
