import { type ResidueClass } from '../fence/residue';
import { type ShardMapSource } from '../shards/shard-map';
import { validateSettings } from '../validation/validate-options';
import { locked, type OpenShard, withReporting, withShards } from './databases';
import { refusalOf } from './errors';
import { makeForeignTables } from './foreign-tables';
import { inspectViews } from './inspect-views';
import { schemaOfClass } from './names';
import { assertFitForReports, assertFitForViews } from './obstacles';
import { type ReportingPlace, ReportingSettings } from './settings';
import { dropViews, makeViews } from './views-at-shard';

/** What {@link renewReporting} has done. */
export interface RenewedReporting {
  /** Of the map. */
  readonly version: number;
  readonly shards: readonly RenewedShard[];
}

/** One database of the map. */
export interface RenewedShard extends ResidueClass {
  readonly shard: string;
  /** Its views were made now: they were not there, or not as they should be. */
  readonly made: boolean;
}

/**
 * Makes the reporting database what the map says, or makes it so again: after a split, and with a new version of this
 * package. It looks at all databases first. Then each gets the views of its class; then the reporting database changes
 * from the old ones to these, in one transaction; then the old ones go. So no report sees a restaurant twice, or not at
 * all, also where this dies half-way: run it again.
 *
 * For the owner of each database. Services go on; a report that runs is waited for, for two minutes unless
 * `migrationLockBudgetMs` says otherwise.
 *
 * @throws ReportingRefusedError, PendingMigrationsError before anything is changed
 * @throws MigrationInProgressError; ConfigurationError a setting or the map is wrong
 *
 * @example
 * await renewReporting(shardMapFile('shards.json'), { url, reader: 'reporting_reader', readerPassword });
 */
export async function renewReporting(source: ShardMapSource, settings: ReportingSettings): Promise<RenewedReporting> {
  const given = validateSettings({ ReportingSettings }, settings);
  const { reader, readerPassword, rolePrefix } = given;
  return await withReporting(given, (reporting) =>
    locked(reporting, given, async (queryRunner) => {
      // Under the lock: a renewal that has waited goes by what the one before it went by, or by something newer.
      const map = await source.load();
      await assertFitForReports(queryRunner, map, rolePrefix);
      return await withShards(map, given, async (shards) => {
        for (const shard of shards) await assertFitForViews(shard, queryRunner, rolePrefix);
        const renewed: RenewedShard[] = [];
        for (const shard of shards) renewed.push(await renewViews(shard, given));
        const login = { user: reader, password: readerPassword };
        await makeForeignTables(queryRunner, map, login, rolePrefix).catch((error: unknown) => {
          throw refusalOf('Reporting database', error);
        });
        for (const { entry, dataSource } of shards) {
          await locked(dataSource, given, (session) => dropViews(session, entry)).catch((error: unknown) => {
            throw refusalOf(`Database ${entry.name}`, error);
          });
        }
        return { version: map.version, shards: renewed };
      });
    }),
  );
}

async function renewViews({ entry, dataSource }: OpenShard, place: ReportingPlace): Promise<RenewedShard> {
  const { name: shard, modulus, remainder } = entry;
  return await locked(dataSource, place, async (queryRunner) => {
    const all = await inspectViews(queryRunner, place.rolePrefix);
    const made = all.find(({ schema }) => schema === schemaOfClass(entry))?.drift.length !== 0;
    if (made) {
      await makeViews(queryRunner, entry, place.rolePrefix).catch((error: unknown) => {
        throw refusalOf(`Database ${shard}`, error);
      });
    }
    return { shard, modulus, remainder, made };
  });
}
