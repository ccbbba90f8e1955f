import { dropForeignTables, makeForeignTables } from '../../../src/reporting/foreign-tables';
import { dropReporting } from '../../../src/reporting/drop-reporting';
import { ReportingRefusedError } from '../../../src/reporting/errors';
import { renewReporting } from '../../../src/reporting/renew-reporting';
import { readShardMap } from '../../../src/shards/shard-map';
import { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { failureOf } from '../../support/processes/within';
import { QUIET } from '../../support/reporting/reporting-world';
import { ReplaceableSource } from '../../support/shards/shards';

const DATABASES = 64;
const FEW = '10';
// Nobody is there: what is refused is refused before any of them is asked.
const source = new ReplaceableSource(
  readShardMap({
    version: 1,
    shards: Array.from({ length: DATABASES }, (_, remainder) => ({
      ...{ name: `s${remainder}`, modulus: DATABASES, remainder, number: remainder },
      url: `postgresql://127.0.0.1:1/payments_${remainder}`,
    })),
  }),
);
const login = { user: 'reader', password: 'secret' };

const folder = new TemporaryDirectory();
let server: EmbeddedServer | undefined;
afterAll(async () => {
  await server?.stop();
  await folder.remove();
});

/** Starts the server of reports, or ends and starts it, with room for so many locks for each of 20 sessions. */
async function startWith(locks: string): Promise<void> {
  await server?.stop();
  const settings = { ...UNSAFE_BUT_FAST, max_connections: '20', max_locks_per_transaction: locks };
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, settings, notice: () => undefined });
}

const place = () => ({ url: server!.url, say: () => undefined, dataSource: QUIET });
const found = (sql: string) => withClient(server!.url, async (client) => (await client.query(sql)).rows as object[]);
const relations = () =>
  found(`SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
  WHERE nspname = 'payment_events_reporting' AND relkind IN ('p', 'f')`);

async function onSession(work: (queryRunner: Parameters<typeof dropForeignTables>[0]) => Promise<unknown>) {
  const dataSource = await quietDataSource({ url: server!.url, schema: undefined });
  const queryRunner = dataSource.createQueryRunner();
  try {
    return await work(queryRunner);
  } finally {
    await queryRunner.release();
    await dataSource.destroy();
  }
}

/** The number that a refusal asks for. */
async function needed(work: Promise<unknown>): Promise<string> {
  const error = await failureOf(work);
  expect(error).toBeInstanceOf(ReportingRefusedError);
  const { reasons } = error as ReportingRefusedError;
  expect(reasons).toEqual([
    expect.stringMatching(
      /^Reporting database: max_locks_per_transaction of the server must be \d+ or more for 64 databases, .* it is 10\. /,
    ),
  ]);
  return /SET max_locks_per_transaction = (\d+)/.exec(reasons[0]!)![1]!;
}

const MINUTES = 180_000;

test(
  'where the locks of so many tables have no room, renew and drop say how much they need before anything is changed, and that is enough',
  async () => {
    await startWith(FEW);
    const toRenew = await needed(
      renewReporting(source, { ...place(), reader: login.user, readerPassword: login.password }),
    );
    expect(await found(`SELECT FROM pg_namespace WHERE starts_with(nspname, 'payment_events')`)).toEqual([]);
    expect(await found(`SELECT FROM pg_roles WHERE starts_with(rolname, 'payment_events')`)).toEqual([]);

    await startWith(toRenew);
    await onSession((queryRunner) => makeForeignTables(queryRunner, source.map, login));
    const all = await relations();
    expect(all).toHaveLength(8 * (DATABASES + 1));

    await startWith(FEW);
    // What it is refused for: it would fail half-way, and others with it.
    expect(
      await failureOf(onSession((queryRunner) => makeForeignTables(queryRunner, source.map, login))),
    ).toMatchObject({
      driverError: { code: '53200' },
    });
    const again = await needed(
      renewReporting(source, { ...place(), reader: login.user, readerPassword: login.password }),
    );
    const toDrop = await needed(dropReporting(source, place()));
    expect(await relations()).toEqual(all);

    await startWith(again);
    await onSession((queryRunner) => makeForeignTables(queryRunner, source.map, login));
    expect(await relations()).toHaveLength(all.length);

    await startWith(toDrop);
    await onSession((queryRunner) => dropForeignTables(queryRunner));
    expect(await relations()).toEqual([]);
  },
  MINUTES,
);
