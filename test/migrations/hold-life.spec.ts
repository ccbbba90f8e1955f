import { migrate, revert } from '../../src';
import { encodeEvent } from '../../src/event-store/event-codec';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { stream } from '../support/requests/hold-streams';

const database = useTestDatabase();

const id = '0199f1e2-7e1c-7000-8000-000000000001';
const LIFE = `SELECT current_setting('payment_events_db.hold_life_days', true) AS days`;

test('how long a hold lives is a setting of the DataSource; the session that has migrated forgets it', async () => {
  const authorizedAt = new Date(Date.now() - 10 * 86_400_000);
  const events = [stream.created(), stream.voided(), stream.answered('AUTHORIZED', { authorizedAt })];
  for (const [index, event] of events.entries()) {
    await database.query(
      `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
       VALUES ($1, 'auth_request', $2, $3, $4, $1)`,
      [id, event.type, encodeEvent(event), index + 1],
    );
  }
  for (const [migrationHoldLifeDays, state] of [
    [7, 'held'],
    [undefined, 'voiding'],
    [11, 'voiding'],
    [0, 'held'],
  ] as const) {
    const dataSource = await quietDataSource({ url: database.url, poolSize: 1, migrationHoldLifeDays });
    try {
      await dataSource.query(`SET payment_events_db.hold_life_days = 'is not ours to keep'`);
      await dataSource.query(`RESET payment_events_db.hold_life_days`);
      await revert(dataSource, { to: 'CommentOnObjects', say: () => undefined });
      const said: string[] = [];
      await migrate(dataSource, { say: (message) => said.push(message) });
      expect(said.join('\n')).toContain(`older than ${migrationHoldLifeDays ?? 31} days`);
      expect((await dataSource.query<{ days: string }[]>(LIFE))[0]!.days || null).toBeNull();
      expect(await dataSource.query('SHOW search_path')).toEqual([{ search_path: 'public,pg_temp' }]);
    } finally {
      await dataSource.destroy();
    }
    expect(await database.query('SELECT state FROM auth_holds')).toEqual([{ state }]);
  }
});
