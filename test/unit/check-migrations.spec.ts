import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkMigrations, RELEASED } from '../../scripts/support/check-migrations';
import { migrations } from '../../src/migrations';

const ROOT = join(__dirname, '../..');
const LAST = migrations.at(-1)!.name;
const FILE = `src/migrations/${LAST.slice(-13)}-${LAST.slice(0, -13)}.ts`;

/** What it says of a checkout in which one thing is not as it should be. */
async function problemsWith(change: (root: string) => void): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), 'payment-events-migrations-'));
  try {
    cpSync(join(ROOT, 'src/migrations'), join(root, 'src/migrations'), { recursive: true });
    cpSync(join(ROOT, 'test/migrations'), join(root, 'test/migrations'), { recursive: true });
    change(root);
    return await checkMigrations(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const edit = (path: string, change: (text: string) => string) => (root: string) =>
  writeFileSync(join(root, path), change(readFileSync(join(root, path), 'utf8')));

test('the migrations of this checkout are as they should be', async () => {
  expect(await problemsWith(() => undefined)).toEqual([]);
});

test.each([
  {
    what: 'a released migration that was changed',
    change: edit(RELEASED, (text) => text.replace(/"[0-9a-f]{64}"/, `"${'0'.repeat(64)}"`)),
    says: /LegacySchema\.ts: has been released and was changed since/,
  },
  {
    what: 'a released migration that is gone',
    change: edit(RELEASED, (text) => text.replace('{', '{ "Gone1795367318000": "0",')),
    says: /Gone1795367318000 is gone/,
  },
  {
    what: 'a migration that does not say what it locks',
    change: edit(FILE, (text) => text.replace(/^ \* Locks.*$/gm, ' *')),
    says: /does not say which locks/,
  },
  {
    what: 'a migration that no test names',
    change: (root: string) => rmSync(join(root, 'test/migrations/locks.spec.ts')),
    says: /has no test that names 'GuardPaymentEvents'/,
  },
  {
    what: 'a file whose class is not in the list, as where its time was changed by hand',
    change: (root: string) => {
      mkdirSync(join(root, 'test'), { recursive: true });
      cpSync(join(root, FILE), join(root, 'src/migrations/1800000000000-MadeUp.ts'));
    },
    says: /1800000000000-MadeUp\.ts: exports no class MadeUp1800000000000/,
  },
])('it names $what', async ({ change, says }) => {
  expect(await problemsWith(change)).toContainEqual(expect.stringMatching(says));
});
