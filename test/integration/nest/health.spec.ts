import { type DataSource } from 'typeorm';
import { InvalidCommandError } from '../../../src';
import { PaymentEventsDbHealth } from '../../../src/nest';
import { Proxy } from '../../support/database/proxy';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { useTestDatabase } from '../../support/database/use-test-database';
import { aHold } from '../../support/requests/holds';
import { aLostRequest, HOUR, letPass, MINUTE } from '../../support/sweeper/sweeping';

// With terminus itself they are asked in service.spec.ts.

describe('the health of a database with its migrations', () => {
  const database = useTestDatabase();
  let dataSource: DataSource;
  let health: PaymentEventsDbHealth;
  beforeAll(async () => {
    dataSource = await database.dataSource();
    health = new PaymentEventsDbHealth(dataSource);
  });

  test('all is up where nothing has happened', async () => {
    expect({
      ...(await health.database('database')),
      ...(await health.migrations('migrations')),
      ...(await health.outbox('outbox')),
      ...(await health.holds('holds')),
    }).toEqual({
      database: { status: 'up' },
      migrations: { status: 'up' },
      outbox: { status: 'up', oldestPendingAgeMs: null, pending: 0, failed: 0 },
      holds: {
        ...{ status: 'up', oldestOpenAgeMs: null },
        forAPerson: { void_failed: 0, captured_unneeded: 0, never_voided: 0 },
      },
    });
  });

  test('the outbox is down as soon as a message has waited for too long, or has been given up', async () => {
    await aLostRequest(dataSource);
    await database.query('UPDATE outbox SET processed_at = NULL');
    await letPass(database, 2 * MINUTE);
    const seen = { pending: 1, failed: 0, oldestPendingAgeMs: expect.any(Number) as number };
    expect(await health.outbox('outbox')).toEqual({ outbox: { status: 'down', ...seen } });
    expect(await health.outbox('outbox', { maxAgeMs: HOUR })).toEqual({ outbox: { status: 'up', ...seen } });
    await database.query('UPDATE outbox SET failed_at = now(), attempts = 1');
    expect(await health.outbox('outbox')).toMatchObject({ outbox: { status: 'down', failed: 1 } });
    expect(await health.outbox('outbox', { maxFailed: 1 })).toMatchObject({ outbox: { status: 'up', failed: 1 } });
  });

  test('holds are down as soon as one should have gone, or waits for a person', async () => {
    await aHold(dataSource, 'needed');
    expect(await health.holds('holds')).toMatchObject({ holds: { status: 'up' } });
    await aHold(dataSource, 'voiding', { set: `state_since = now() - interval '7 hours'` });
    expect(await health.holds('holds')).toMatchObject({ holds: { status: 'down', forAPerson: { void_failed: 0 } } });
    expect(await health.holds('holds', { maxOpenAgeMs: 8 * HOUR })).toMatchObject({ holds: { status: 'up' } });
    await aHold(dataSource, 'void_failed');
    const later = { maxOpenAgeMs: 8 * HOUR };
    expect(await health.holds('holds', later)).toMatchObject({
      holds: { status: 'down', forAPerson: { void_failed: 1 } },
    });
    expect(await health.holds('holds', { ...later, maxForAPerson: 1 })).toMatchObject({ holds: { status: 'up' } });
  });

  test('a threshold that cannot be is refused, and not taken for a bad state', async () => {
    await expect(health.outbox('outbox', { maxAgeMs: -1 })).rejects.toThrow(InvalidCommandError);
    await expect(health.holds('holds', { maxHolds: 1 } as object)).rejects.toThrow(InvalidCommandError);
  });
});

describe('the health of a database', () => {
  const database = useTestDatabase({ empty: true });

  test('without its migrations is down, and says which it lacks', async () => {
    const health = new PaymentEventsDbHealth(await database.dataSource());
    expect(await health.database('database')).toEqual({ database: { status: 'up' } });
    expect(await health.migrations('migrations')).toEqual({
      migrations: {
        status: 'down',
        code: 'PENDING_MIGRATIONS',
        message: expect.stringContaining('LegacySchema') as string,
      },
    });
    expect(await health.outbox('outbox')).toMatchObject({ outbox: { status: 'down', code: 'DATABASE_ERROR' } });
  });

  test('that cannot be reached any more is down, and says so without a password', async () => {
    const proxy = await Proxy.start(database.url);
    const dataSource = await quietDataSource({ url: proxy.url });
    const health = new PaymentEventsDbHealth(dataSource);
    expect(await health.database('database')).toEqual({ database: { status: 'up' } });
    await proxy.close();
    for (const indicator of ['database', 'migrations', 'outbox', 'holds'] as const) {
      const { seen } = await health[indicator]('seen');
      expect({ indicator, seen }).toMatchObject({ seen: { status: 'down', code: 'DATABASE_UNAVAILABLE' } });
      expect(JSON.stringify(seen)).not.toContain(new URL(database.url).password);
    }
    await dataSource.destroy();
  });
});
