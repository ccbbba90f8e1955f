import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SRC = join(__dirname, '../../src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('protobuf/generated/'))
  .map((file) => ({ file, text: readFileSync(join(SRC, file), 'utf8').replaceAll(/\.replace\(.*/g, '') }));
const outside = (...rooms: string[]) => files.filter(({ file }) => !rooms.some((room) => file.startsWith(room)));
const having = (pattern: RegExp, among = files) =>
  among.flatMap(({ file, text }) => [...text.matchAll(pattern)].map(() => file));

test('values travel by name: no positional parameter stands outside database/', () => {
  expect(
    having(
      /\$\d/g,
      files.filter(({ file }) => file.startsWith('database/')),
    ).length,
  ).toBeGreaterThan(0);
  // In migrations it is one of a function's body, in these of a shell, or of a program for another process.
  const shells = ['testing/server-user.ts', 'testing/temporary-directory.ts', 'testing/database-janitor.ts'];
  expect(having(/\$\d/g, outside('database/', 'migrations/', 'schema/catalogs/', ...shells))).toEqual([]);
});

test.each([
  ['an event is appended', /INSERT INTO payment_events\b/g, 'event-store/append-event.ts'],
  ['a message is queued', /INSERT INTO outbox\b/g, 'outbox/queue-message.ts'],
  ['a key is taken', /INSERT INTO auth_idempotency_keys\b/g, 'idempotency/take-key.ts'],
  ['a lease is looked at', /worker_id, fencing_token\)\s+WHERE expires_at > clock_timestamp/g, 'locks/held-lease.ts'],
  ['what was undecided is done again', /<= TIMES\b|attempt <= 3/g, 'database/repeat.ts'],
  ['a status is called open', /'PENDING', 'PROCESSING'/g, 'auth-requests/statuses.ts'],
])('%s in one place', (_what, pattern, place) => {
  // What the undoing of a split brings back was queued before.
  const elsewhere = ['migrations/', 'schema/catalogs/', 'database/sql-states', 'shards/split/undo'];
  expect(having(pattern, outside(...elsewhere))).toEqual([place]);
});
