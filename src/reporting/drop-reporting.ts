import { IsOptional } from 'class-validator';
import { type ShardMapSource } from '../shards/shard-map';
import { Flag } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { locked, withReporting, withShards } from './databases';
import { refusalOf } from './errors';
import { dropForeignTables } from './foreign-tables';
import { assertMayBeDropped } from './obstacles';
import { ReportingPlace } from './settings';
import { dropViews } from './views-at-shard';

/** What of it goes. */
export class DropReportingSettings extends ReportingPlace {
  /**
   * Leaves the reporting database as it is, with what you have built upon its tables. Until the next renewal its reports
   * fail. For a migration of which a view is in the way. Default false.
   */
  @IsOptional()
  @Flag()
  viewsOnly?: boolean;
}

/** What {@link dropReporting} has dropped. */
export interface DroppedReporting {
  /** Names of the databases that had views. */
  readonly views: readonly string[];
  readonly reportingTables: boolean;
}

/**
 * Takes the views out of the databases of the map, and before that the tables and servers out of the reporting database.
 * Roles and the extension stay. Nothing of anybody else goes: what hangs on them stops it. Harmless again.
 *
 * @throws ReportingRefusedError; MigrationInProgressError; ConfigurationError a setting or the map is wrong
 */
export async function dropReporting(
  source: ShardMapSource,
  settings: DropReportingSettings,
): Promise<DroppedReporting> {
  const given = validateSettings({ DropReportingSettings }, settings);
  return await withReporting(given, (reporting) =>
    locked(reporting, given, async (queryRunner) => {
      const map = await source.load();
      if (!given.viewsOnly) await assertMayBeDropped(queryRunner);
      return await withShards(map, given, async (shards) => {
        const refused = (where: string) => (error: unknown) => {
          throw refusalOf(where, error);
        };
        const reportingTables =
          !given.viewsOnly && (await dropForeignTables(queryRunner).catch(refused('Reporting database')));
        const views: string[] = [];
        for (const { entry, dataSource } of shards) {
          const had = await locked(dataSource, given, (session) => dropViews(session)).catch(
            refused(`Database ${entry.name}`),
          );
          if (had) views.push(entry.name);
        }
        return { views, reportingTables };
      });
    }),
  );
}
