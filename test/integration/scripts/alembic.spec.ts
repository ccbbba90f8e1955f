import { adoptCommand } from '../../../src/cli/commands/adopt';
import { migrations } from '../../../src/migrations';
import { loadAlembicDatabase } from '../../support/legacy/alembic-database';
import { cliHere } from '../../support/processes/cli';
import { useTestDatabase } from '../../support/database/use-test-database';
import { runScript } from './run-script';

const migrate = (url: string) => runScript('migrate_payment_events_db.sh', url);
const names = migrations.map(({ name }) => name);

describe('migrate_payment_events_db.sh on a database that Alembic made', () => {
  const database = useTestDatabase({ empty: true });
  beforeAll(() => loadAlembicDatabase(database));

  test('stops before it changes anything and says how to take it over; doing so works', async () => {
    const stopped = await migrate(database.url);
    expect(stopped.output).toContain('Alembic made this database (revision 09c2b295afcd)');
    expect(stopped.exitCode).toBe(4);
    expect(await database.query(`SELECT to_regclass('payment_events_db_migrations') AS history`)).toEqual([
      { history: null },
    ]);

    const commands = [...stopped.output.matchAll(/payment-events-db (adopt[ a-z-]*)/g)].map(([, command]) => command!);
    expect(commands).toEqual(['adopt --dry-run', 'adopt']);
    for (const command of commands) {
      expect(await cliHere(database.url, adoptCommand(), command.split(' ').slice(1))).toMatchObject({ exitCode: 0 });
    }
    const { exitCode, output } = await migrate(database.url);
    expect(output).not.toContain(`Applying ${names[1]}`);
    expect(output).toContain(`Applying ${names[2]}`);
    expect(exitCode).toBe(0);
  });
});
