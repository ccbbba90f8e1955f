import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { AuthRequests, ReadModel } from '../../src';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory, type TestDatabase } from '../../src/testing';
import { anAuthorization, aRequest } from '../support/requests/auth-requests';
import { legacy, loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { EXPANDED_LEVEL, LATEST_LEVEL, MigrationChain, readRows } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { compiled } from '../support/jest/compiled';

// Two servers, and commands that take seconds to start.
jest.setTimeout(240_000);

const ROOT = resolve(__dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/how-to/move-to-another-server.md'), 'utf8');

/** The blocks of the page, by the headings they stand under. */
const blocks = PAGE.split(/^(?=##+ )/m).flatMap((text) =>
  [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, code]) => ({
    section: text.split('\n', 1)[0]!.replace(/^#+ /, ''),
    language: language!,
    code: code!,
  })),
);
const blocksOf = (section: string, language = 'bash') => {
  const found = blocks.filter((block) => block.section === section && block.language === language);
  expect(found.length).toBeGreaterThan(0);
  return found.map(({ code }) => code);
};
const BEGINNING = 'Move to another server, or to a newer PostgreSQL';

let folder: string;
const folders = [new TemporaryDirectory(), new TemporaryDirectory()];
let [oldServer, newServer]: EmbeddedServer[] = [];

beforeAll(async () => {
  const settings = { wal_level: 'logical' };
  [oldServer, newServer] = await Promise.all(
    ([15, 18] as const).map((version, index) =>
      EmbeddedServer.start({ dataDirectory: folders[index]!.dataDirectory, version, settings }),
    ),
  );
  folder = mkdtempSync(join(tmpdir(), 'move-'));
  const npx = `#!/bin/sh\nshift\ncd '${ROOT}' && exec '${process.execPath}' '${compiled('src/cli/main.ts')}' "$@"\n`;
  writeFileSync(join(folder, 'npx'), npx);
  chmodSync(join(folder, 'npx'), 0o755);
});
afterAll(async () => {
  await Promise.all(folders.map((each) => each.remove()));
  rmSync(folder, { recursive: true, force: true });
});

/** Both ends of a move, and how the page's blocks are run between them. */
class Move {
  private constructor(
    readonly from: TestDatabase,
    readonly to: TestDatabase,
    readonly source: PaymentEventsDataSource,
  ) {}

  /** An adopted database at a step of the chain, with rows of then that break the checks of today. */
  static async begin(level = LATEST_LEVEL): Promise<Move> {
    const [from, to] = await Promise.all([createTestDatabase(oldServer!.url), createTestDatabase(newServer!.url)]);
    await loadLegacyDatabase(from);
    await new MigrationChain(from).upTo(level);
    const source = await quietDataSource({ url: from.url });
    const readModel = new ReadModel(source);
    for (const { authRequestId } of legacy.broken) await readModel.rebuild(authRequestId);
    return new Move(from, to, source);
  }

  async run(...scripts: string[]): Promise<string> {
    const env = {
      ...process.env,
      FORCE_COLOR: undefined,
      NO_COLOR: '1',
      OLD: this.from.url,
      NEW: this.to.url,
      PATH: `${folder}:${process.env.PATH}`,
    };
    let printed = '';
    for (const script of scripts) {
      const bash = promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder, env });
      printed += (await bash.catch(told)).stdout;
    }
    return printed;
  }

  /** Requires every value of every row to be on the other side, and gives what may be written there. */
  async arrived(): Promise<PaymentEventsDataSource> {
    const target = await quietDataSource({ url: this.to.url });
    expect(await readRows(target)).toEqual(await readRows(this.source));
    const history = 'SELECT to_jsonb(h) AS row FROM payment_events_db_migrations AS h ORDER BY id';
    expect(await target.query(history)).toHaveLength((await this.source.query<unknown[]>(history)).length);
    return target;
  }

  async end(target: PaymentEventsDataSource): Promise<void> {
    await target.destroy();
    await this.source.destroy();
    await Promise.all([this.from.drop(), this.to.drop()]);
  }
}

/** A failure with what was printed before it. */
function told({ message, stdout }: Error & { stdout?: string }): never {
  throw new Error(`${message}\n${stdout ?? ''}`);
}

/** One request brought to its end. */
async function workThroughOne(dataSource: PaymentEventsDataSource): Promise<void> {
  const { requests, locks, lease } = await aRequest(dataSource, { started: true });
  await requests.recordAuthorized(lease, anAuthorization());
  await locks.release(lease);
}

test('the page has no block that nothing here runs', () => {
  const sections = [...new Set(blocks.map(({ section }) => section))];
  expect(sections).toEqual([
    BEGINNING,
    'Dump and restore',
    '1. Everything but the rows',
    '2. Put the checks aside that old rows break',
    '3. Replicate, while the services run on',
    '4. Switch over',
    'Only the rows',
    'The end',
  ]);
});

describe('from PostgreSQL 15 to 18', () => {
  test('by logical replication, while services write: every row arrives as it is, and services go on', async () => {
    const move = await Move.begin();
    await move.run(...blocksOf(BEGINNING));
    let stopped = false;
    let worked = 0;
    const services = (async () => {
      for (; !stopped; worked++) await workThroughOne(move.source);
    })();
    try {
      for (const section of ['1. Everything but the rows', '2. Put the checks aside that old rows break']) {
        await move.run(...blocksOf(section));
      }
      await move.run(...blocksOf('3. Replicate, while the services run on'));
      // What is replicated as a change, and not by the first copy.
      for (const then = worked; worked < then + 5;) await workThroughOne(move.source);
    } finally {
      stopped = true;
      await services;
    }
    const open = await aRequest(move.source, { started: true });

    // The rows are there, and the sequences are not: check says so, and with what else is missing.
    const [wait, sequences, ending, ...noMore] = blocksOf('4. Switch over');
    expect(noMore).toEqual([]);
    await move.run(wait!);
    const [, ...commands] = blocksOf('The end')[0]!.split('\n');
    const check = commands.find((command) => command.endsWith('check'))!;
    const refused = await move.run(`DATABASE_URL=$NEW ${check} || true`);
    for (const name of ['payment_events_id_seq', 'outbox_id_seq']) {
      expect(refused).toContain(`different: sequence ${name}: last value\n`);
    }
    expect(refused).toContain('missing: table payment_events: constraint payment_events_metadata_present\n');

    await move.run(sequences!, ending!);
    const said = await move.run(...blocksOf('The end'));
    expect(said).toContain('The schema is that of the newest migration.');
    const target = await move.arrived();
    // The old worker's lease holds on the other side, and is known there.
    await new AuthRequests(target).recordAuthorized(open.lease, anAuthorization());
    await workThroughOne(target);
    await move.end(target);
  });

  test('by a dump: every row arrives as it is, at the end of the migrations and at the end of expand', async () => {
    for (const level of [LATEST_LEVEL, EXPANDED_LEVEL]) {
      const move = await Move.begin(level);
      await move.source.query(blocksOf('Dump and restore', 'sql')[0]!);
      await move.run(...blocksOf('Dump and restore'));
      const ending = blocksOf('The end')[0]!;
      if (level === LATEST_LEVEL) await move.run(ending);
      else await move.run(ending.replace('npx payment-events-db grants\n', ''));
      const target = await move.arrived();
      if (level === LATEST_LEVEL) await workThroughOne(target);
      await move.end(target);
    }
  });

  test('the rows alone: every one arrives as it is, in a database that was migrated by itself', async () => {
    const move = await Move.begin();
    await new MigrationChain(move.to).upTo(LATEST_LEVEL);
    await move.run(...blocksOf('2. Put the checks aside that old rows break'), ...blocksOf('Only the rows'));
    const [, , putBack] = blocksOf('4. Switch over');
    await move.run(putBack!.replace(/^DROP SUBSCRIPTION .*\n/m, '').replace(/^psql .*DROP PUBLICATION.*\n/m, ''));
    await move.run(...blocksOf('The end'));
    const target = await move.arrived();
    await workThroughOne(target);
    await move.end(target);
  });
});
