import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { InvalidCommandError, LockHeldError, LockLostError } from '../../src/errors';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, eventually, overlap } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let locks: ProcessingLocks;

beforeAll(async () => {
  dataSource = await database.dataSource();
  locks = new ProcessingLocks(dataSource);
});

const aCommand = (changes: { authRequestId?: string; workerId?: string; ttlMs?: number } = {}) => ({
  restaurantId: RESTAURANT,
  authRequestId: uuidv4(),
  workerId: 'w1',
  ttlMs: 60_000,
  ...changes,
});
/** What time does, without the waiting. */
const lapse = ({ authRequestId }: { authRequestId: string }) =>
  database.query(
    `UPDATE auth_processing_locks
     SET locked_at = clock_timestamp() - interval '1 minute', expires_at = clock_timestamp() WHERE auth_request_id = $1`,
    [authRequestId],
  );
const rowOf = async ({ authRequestId }: { authRequestId: string }) =>
  (
    await database.query<{ worker_id: string; fencing_token: string; live: boolean; ttl: number }>(
      `SELECT worker_id, fencing_token, expires_at > clock_timestamp() AS live,
              extract(epoch FROM expires_at - clock_timestamp())::float8 AS ttl
       FROM auth_processing_locks WHERE auth_request_id = $1`,
      [authRequestId],
    )
  )[0];
async function acquired(command = aCommand()): Promise<Lease> {
  const lease = await locks.acquire(command);
  if (!lease) throw new Error('it was free');
  return lease;
}

describe('a lease', () => {
  it('is given to one worker, for so long by the clock of the database', async () => {
    const command = aCommand({ authRequestId: uuidv4().toUpperCase() });
    const lease = await acquired(command);
    expect(lease).toEqual({
      restaurantId: RESTAURANT,
      authRequestId: command.authRequestId.toLowerCase(),
      workerId: 'w1',
      fencingToken: expect.any(BigInt) as bigint,
      expiresAt: expect.any(Date) as Date,
    });
    expect(Object.isFrozen(lease)).toBe(true);
    expect((await rowOf(lease))?.ttl).toBeGreaterThan(50);
    expect((await rowOf(lease))?.ttl).toBeLessThanOrEqual(60);
    expect(await locks.acquire({ ...command, workerId: 'w2' })).toBeNull();
  });

  it('is not given twice to the same worker', async () => {
    const command = aCommand();
    await acquired(command);
    expect(await locks.acquire(command)).toBeNull();
  });

  it('is taken over once it has expired, also by the same worker, under a new token', async () => {
    const first = await acquired();
    await lapse(first);
    const second = await acquired(aCommand({ authRequestId: first.authRequestId, workerId: 'w2' }));
    await lapse(second);
    const third = await acquired(aCommand({ authRequestId: first.authRequestId, workerId: 'w2' }));
    expect(new Set([first, second, third].map(({ fencingToken }) => fencingToken)).size).toBe(3);
    expect(await rowOf(first)).toMatchObject({ worker_id: 'w2', fencing_token: `${third.fencingToken}`, live: true });
  });

  it('is given to one of many who ask at once, new or expired, under tokens that are never given again', async () => {
    const tokens: bigint[] = [];
    for (let round = 0; round < 50; round++) {
      const { authRequestId } = aCommand();
      for (const state of ['free', 'expired']) {
        if (state === 'expired') await lapse({ authRequestId });
        const answers = await atOnce(8, (index) => locks.acquire(aCommand({ authRequestId, workerId: `w${index}` })));
        const given = answers.filter((lease) => lease !== null);
        expect(given).toHaveLength(1);
        tokens.push(given[0]!.fencingToken);
      }
    }
    expect(new Set(tokens).size).toBe(100);
  });

  it('is free again when its acquisition is rolled back', async () => {
    const command = aCommand();
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => locks.acquire(command, manager),
      () => locks.acquire({ ...command, workerId: 'w2' }),
      { ending: 'rollback' },
    );
    expect(waited).toBe(true);
    expect(second?.workerId).toBe('w2');
  });

  it('is renewed from now on, by its holder only', async () => {
    const lease = await acquired(aCommand({ ttlMs: 10_000 }));
    const renewed = await locks.renew(lease, 100_000);
    expect(renewed).toMatchObject({ fencingToken: lease.fencingToken, workerId: 'w1' });
    expect(renewed.expiresAt.getTime()).toBeGreaterThan(lease.expiresAt.getTime() + 80_000);
    expect((await locks.renew(renewed, 5_000)).expiresAt.getTime()).toBeLessThan(lease.expiresAt.getTime());
    for (const other of foreign(lease)) await expect(locks.renew(other, 60_000)).rejects.toThrow(LockLostError);
    expect((await rowOf(lease))?.ttl).toBeLessThan(6);
  });

  it('is not renewed once it has expired, though nobody has taken it over', async () => {
    const lease = await acquired();
    await lapse(lease);
    await expect(locks.renew(lease, 60_000)).rejects.toThrow(LockLostError);
    expect(await rowOf(lease)).toMatchObject({ live: false });
  });

  it('is released by its holder only, once', async () => {
    const lease = await acquired();
    for (const other of foreign(lease)) expect(await locks.release(other)).toBe(false);
    expect(await rowOf(lease)).toMatchObject({ live: true });
    expect(await locks.release(lease)).toBe(true);
    expect(await locks.release(lease)).toBe(false);
    expect(await rowOf(lease)).toBeUndefined();
    expect(await locks.acquire(aCommand({ authRequestId: lease.authRequestId, workerId: 'w2' }))).not.toBeNull();
  });

  it('of another is neither renewed nor released by the worker who had it before', async () => {
    const stale = await acquired();
    await lapse(stale);
    const current = await acquired(aCommand({ authRequestId: stale.authRequestId }));
    await expect(locks.renew(stale, 60_000)).rejects.toThrow(LockLostError);
    expect(await locks.release(stale)).toBe(false);
    expect(await rowOf(current)).toMatchObject({ fencing_token: `${current.fencingToken}`, live: true });
  });

  it.each([
    ['too short', { ttlMs: 99 }],
    ['too long', { ttlMs: 86_400_001 }],
    ['without a worker', { workerId: '' }],
    ['on nothing', { authRequestId: 'x' }],
  ])('that is %s is refused before anything is sent', async (_what, change) => {
    await expect(locks.acquire(aCommand(change))).rejects.toThrow(InvalidCommandError);
  });

  it('is not renewed for too short a time', async () => {
    await expect(locks.renew(await acquired(), 1)).rejects.toThrow(InvalidCommandError);
  });
});

/** All that differs from a lease in one thing. */
const foreign = (lease: Lease): Lease[] => [
  { ...lease, workerId: 'w2' },
  { ...lease, fencingToken: lease.fencingToken + 1_000_000n },
  { ...lease, restaurantId: uuidv4() },
];

describe('withLock', () => {
  it('gives what the work gives, and the lease back', async () => {
    const command = aCommand();
    const result = await locks.withLock(command, async (lease, signal) => {
      expect(await rowOf(lease)).toMatchObject({ worker_id: 'w1', live: true });
      expect(signal.aborted).toBe(false);
      return 42;
    });
    expect(result).toBe(42);
    expect(await rowOf(command)).toBeUndefined();
  });

  it('gives the lease back when the work throws, and throws that', async () => {
    const command = aCommand();
    const failure = new Error('processor on fire');
    await expect(locks.withLock(command, () => Promise.reject(failure))).rejects.toBe(failure);
    expect(await rowOf(command)).toBeUndefined();
  });

  it('does not begin the work while another worker holds the lease', async () => {
    const lease = await acquired();
    const work = jest.fn(() => Promise.resolve());
    const refused = locks.withLock(aCommand({ authRequestId: lease.authRequestId, workerId: 'w2' }), work);
    await expect(refused).rejects.toThrow(LockHeldError);
    await expect(refused).rejects.toMatchObject({ retryable: true });
    expect(work).not.toHaveBeenCalled();
    expect(await rowOf(lease)).toMatchObject({ worker_id: 'w1', live: true });
  });

  it('holds the lease for longer than its time to live', async () => {
    const command = aCommand({ ttlMs: 1_000 });
    await locks.withLock(command, async (lease, signal) => {
      for (const until = performance.now() + 2_500; performance.now() < until; await delay(50)) {
        expect(await locks.acquire({ ...command, workerId: 'w2' })).toBeNull();
      }
      expect(signal.aborted).toBe(false);
      expect(await rowOf(lease)).toMatchObject({ fencing_token: `${lease.fencingToken}` });
    });
  });

  it('tells the work at the next renewal that the lease is lost, and leaves the new holder alone', async () => {
    const command = aCommand({ ttlMs: 6_000 });
    let taken: Lease | undefined;
    await locks.withLock(command, async (lease, signal) => {
      await lapse(lease);
      taken = await acquired({ ...command, workerId: 'w2', ttlMs: 60_000 });
      expect(await eventually(() => signal.aborted, 5_000)).toBe(true);
      expect(signal.reason).toBeInstanceOf(LockLostError);
    });
    expect(await rowOf(command)).toMatchObject({
      worker_id: 'w2',
      fencing_token: `${taken!.fencingToken}`,
      live: true,
    });
  });

  it('tells the work by its own clock when the database cannot be asked', async () => {
    const command = aCommand({ ttlMs: 300 });
    await locks.withLock(command, async (_lease, signal) => {
      const blocker = await database.connect();
      await blocker.query('BEGIN');
      await blocker.query('LOCK TABLE auth_processing_locks');
      const told = await eventually(() => signal.aborted);
      await blocker.query('ROLLBACK');
      expect(told).toBe(true);
    });
  });
});

describe('purgeExpired', () => {
  it('deletes what has expired, batch by batch, and nothing else', async () => {
    await database.query('DELETE FROM auth_processing_locks');
    const leases = await atOnce(25, () => acquired());
    for (const lease of leases.slice(0, 21)) await lapse(lease);
    expect(await locks.purgeExpired({ batchSize: 7 })).toBe(21);
    expect(await locks.purgeExpired()).toBe(0);
    for (const lease of leases.slice(21)) expect(await rowOf(lease)).toMatchObject({ live: true });
  });

  it('never takes a lease away from somebody who is taking it over', async () => {
    for (let round = 0; round < 30; round++) {
      const old = await atOnce(10, () => acquired());
      await atOnce(10, (index) => lapse(old[index]!));
      const [, ...taken] = await Promise.all([
        atOnce(2, () => locks.purgeExpired({ batchSize: 3 })),
        ...old.map(({ authRequestId }) => acquired(aCommand({ authRequestId, workerId: 'w2' }))),
      ]);
      for (const lease of taken) {
        expect(await rowOf(lease)).toMatchObject({ fencing_token: `${lease.fencingToken}`, live: true });
      }
    }
  });

  it('does not wait for somebody who is taking one over', async () => {
    await database.query('DELETE FROM auth_processing_locks');
    const [held, expired] = [await acquired(), await acquired()];
    await lapse(held);
    await lapse(expired);
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => locks.acquire(aCommand({ authRequestId: held.authRequestId, workerId: 'w2' }), manager),
      () => locks.purgeExpired(),
    );
    expect({ second, waited }).toEqual({ second: 1, waited: false });
    expect(await rowOf(held)).toMatchObject({ worker_id: 'w2', live: true });
  });
});
