import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigurationError } from '../../../src/errors';
import { shardMapDirectory } from '../../../src/shards/map-directory';
import { MapLoader } from '../../../src/shards/map-loader';
import { shardMapFile, shardMapFromEnvironment } from '../../../src/shards/map-sources';
import { type ShardMap } from '../../../src/shards/shard-map';
import { useTestDatabase } from '../../support/database/use-test-database';
import { atOnce } from '../../support/requests/races';
import { mapOf, ReplaceableSource, WHOLE } from '../../support/shards/shards';

const SECRET = 'hush-hush';
const map = (version: number, url = 'postgresql://db-a/payments'): ShardMap => mapOf(version, { a: { ...WHOLE, url } });
const folder = mkdtempSync(join(tmpdir(), 'shards-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function messageOf(loading: Promise<unknown>): Promise<string> {
  const error: unknown = await loading.then(
    () => new Error('It was loaded.'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConfigurationError);
  expect(JSON.stringify(error)).not.toContain(SECRET);
  return (error as Error).message;
}

describe('a file', () => {
  const path = join(folder, 'shards.json');

  test('is read anew each time', async () => {
    const source = shardMapFile(path);
    for (const version of [1, 2]) {
      writeFileSync(path, JSON.stringify(map(version)));
      const loaded = await source.load();
      expect(loaded).toEqual(map(version));
      // The same text is the same map, which is not read again.
      expect(await source.load()).toBe(loaded);
    }
  });

  test('that is missing, half written or no map is refused, and nothing of it is told', async () => {
    expect(await messageOf(shardMapFile(join(folder, 'none.json')).load())).toContain('ENOENT');
    writeFileSync(path, `{"version": 1, "shards": [{"url": "postgresql://u:${SECRET}@db/p`);
    expect(await messageOf(shardMapFile(path).load())).toBe('Shard map: it is not JSON.');
    writeFileSync(path, JSON.stringify({ version: 1, shards: [{ url: SECRET }] }));
    expect(await messageOf(shardMapFile(path).load())).toContain('shards.0.name');
  });
});

describe('the environment', () => {
  test('holds the map itself, or says in which file it is', async () => {
    const path = join(folder, 'of-environment.json');
    writeFileSync(path, JSON.stringify(map(7)));
    await expect(shardMapFromEnvironment({ PAYMENT_EVENTS_DB_SHARDS: path }).load()).resolves.toEqual(map(7));
    const text = ` ${JSON.stringify(map(8))}`;
    await expect(shardMapFromEnvironment({ PAYMENT_EVENTS_DB_SHARDS: text }).load()).resolves.toEqual(map(8));
  });

  test('that says nothing is an error that names the variable', async () => {
    for (const PAYMENT_EVENTS_DB_SHARDS of [undefined, '', ' ']) {
      expect(() => shardMapFromEnvironment({ PAYMENT_EVENTS_DB_SHARDS })).toThrow(/PAYMENT_EVENTS_DB_SHARDS must be/);
    }
    await messageOf(shardMapFromEnvironment({ PAYMENT_EVENTS_DB_SHARDS: `{"${SECRET}` }).load());
  });
});

describe('a directory', () => {
  const database = useTestDatabase();

  test('has nothing at first, then the version that was published last, and each one before', async () => {
    const directory = shardMapDirectory(database.url);
    expect(await messageOf(directory.load())).toContain('nothing is published');
    await directory.publish(map(1));
    await directory.publish(map(2, 'postgresql://db-b/payments'));
    const loaded = await directory.load();
    expect(loaded).toEqual(map(2, 'postgresql://db-b/payments'));
    expect(await directory.load()).toBe(loaded);
    await expect(
      database.query('SELECT version::integer FROM payment_events_db_shard_maps ORDER BY version'),
    ).resolves.toEqual([{ version: 1 }, { version: 2 }]);
  });

  test('takes no version but the next one', async () => {
    const directory = shardMapDirectory({ url: database.url });
    for (const version of [1, 2, 4]) {
      expect(await messageOf(directory.publish(map(version)))).toContain('is not the next one');
    }
    await expect(directory.load()).resolves.toMatchObject({ version: 2 });
  });

  test('takes one of two who publish at once, also where it has no table yet', async () => {
    await database.query('DROP TABLE payment_events_db_shard_maps');
    for (let version = 1; version <= 20; version++) {
      const outcomes = await atOnce(4, (index) =>
        shardMapDirectory(database.url)
          .publish(map(version, `postgresql://db-${index}/payments`))
          .then(
            () => index,
            async (error: unknown) => void (await messageOf(Promise.reject(error as Error))),
          ),
      );
      const taken = outcomes.filter((index) => index !== undefined);
      expect(taken).toHaveLength(1);
      const { shards } = await shardMapDirectory(database.url).load();
      expect(shards[0]!.url).toBe(`postgresql://db-${taken[0]}/payments`);
    }
  });

  test('keeps no password', async () => {
    for (const url of [`postgresql://u:${SECRET}@db/p`, `postgresql://u@db/p?password=${SECRET}`]) {
      expect(await messageOf(shardMapDirectory(database.url).publish(map(21, url)))).toContain(
        'the URL of a holds a password',
      );
    }
    const kept = await database.query<{ text: string }>('SELECT map::text AS text FROM payment_events_db_shard_maps');
    expect(JSON.stringify(kept)).not.toContain(SECRET);
  });

  test('that is away is an error that may pass', async () => {
    const away = shardMapDirectory('postgresql://postgres@127.0.0.1:1/nowhere');
    await expect(away.load()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', retryable: true });
  });
});

describe('loads', () => {
  test('at the same time are one, which begins after each of those who ask', async () => {
    const source = new ReplaceableSource(map(1));
    const loader = new MapLoader(source);
    const first = loader.load();
    const others = atOnce(100, () => loader.load());
    await expect(first).resolves.toEqual(map(1));
    source.map = map(2);
    // The second began when the first had ended: nobody is given what was read before they asked.
    for (const loaded of await others) expect(loaded.version).toBe(2);
    expect(source.loads).toBe(2);
  });

  test('that fail are told to those who asked, and the next one begins anew', async () => {
    const source = new ReplaceableSource(map(1));
    const loader = new MapLoader({
      load: () => (source.loads === 0 ? (source.loads++, Promise.reject(new Error('away'))) : source.load()),
    });
    const [first, second] = [loader.load(), loader.load()];
    await expect(first).rejects.toThrow('away');
    await expect(second).resolves.toEqual(map(1));
    expect(loader.running).toBeUndefined();
  });
});
