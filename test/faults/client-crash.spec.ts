import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { atOnce, eventually } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';
import { compiled } from '../support/jest/compiled';

const database = useTestDatabase();
const NAME = 'doomed client';
const CLIENT = compiled('test/fixtures/doomed-client.fixture.ts');

/** Starts a client and kills it at a random moment of its work. @returns what it had been told is committed */
async function sufferClient(): Promise<string[]> {
  const child: ChildProcess = spawn(process.execPath, [CLIENT, database.url, NAME], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const confirmed: string[] = [];
  const lines = createInterface({ input: child.stdout! }).on('line', (key) => confirmed.push(key));
  await Promise.race([once(lines, 'line'), once(child, 'exit')]);
  await delay(Math.random() * 300);
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  return confirmed;
}

it('a client that is killed while it works loses nothing, does nothing by halves and leaves no session behind', async () => {
  const confirmed: string[] = [];
  for (let round = 0; round < 2; round++) {
    confirmed.push(...(await atOnce(4, sufferClient)).flat());
  }
  const sessions = () => database.query('SELECT pid FROM pg_stat_activity WHERE application_name = $1', [NAME]);
  expect(await eventually(async () => (await sessions()).length === 0)).toBe(true);

  expect(confirmed.length).toBeGreaterThan(8);
  const twins = await database.query<{ key: string; requests: number }>(
    `SELECT split_part(idempotency_key, ' ', 1) AS key, count(*)::integer AS requests
     FROM auth_idempotency_keys WHERE idempotency_key LIKE '% %' GROUP BY 1`,
  );
  expect(twins.filter(({ requests }) => requests !== 2)).toEqual([]);
  const kept = new Set(twins.map(({ key }) => key));
  expect(confirmed.filter((key) => !kept.has(key))).toEqual([]);
  await expectNothingHalfDone((sql, params) => database.query(sql, params), await database.dataSource());
}, 120_000);
