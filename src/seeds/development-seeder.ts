import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { type PostgresOptions } from '../connection/data-source-settings';
import { databaseAddress } from '../database/database-address';
import { query, sql } from '../database/sql';
import { ConfigurationError } from '../errors';
import { Flag } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { type DevelopmentConfig, developmentConfigs } from './development-data';
import { assertDevelopmentDatabase } from './development-only';

// No conflict target: whichever key is taken (this version, or another active one of the owner's), the row that is
// there stays as it is.
const insertConfig = ({ restaurantId, configVersion, processorName, processorConfig }: DevelopmentConfig) => sql`
  INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
  VALUES (${restaurantId}, ${configVersion}, ${processorName}, ${processorConfig})
  ON CONFLICT DO NOTHING
  RETURNING restaurant_id`;

/** How {@link DevelopmentSeeder.run} is told what it may do. */
export class SeedOptions {
  /** Seed although `NODE_ENV` is `production` or the server is not on this machine. Default false. */
  @IsOptional()
  @Flag()
  force?: boolean;
}

/**
 * Puts into a migrated database what local development needs: one restaurant, paid through Stripe's test mode.
 * Running it again changes nothing, and what the owner of the database has put there stays.
 *
 * ```ts
 * const { inserted } = await new DevelopmentSeeder().run(dataSource);   // 1 the first time, then 0
 * ```
 */
export class DevelopmentSeeder {
  /**
   * Inserts what is missing.
   *
   * @param dataSource initialized, made with a `url`, its migrations applied
   * @returns how many rows were not there yet
   * @throws DevelopmentOnlyError unless this is a developer's own database or `force` is true
   * @throws ConfigurationError
   */
  async run(dataSource: DataSource, options?: SeedOptions): Promise<{ inserted: number }> {
    const { force = false } = validateSettings({ SeedOptions }, options);
    if (!force) assertDevelopmentDatabase(databaseAddress(urlOf(dataSource)), process.env.NODE_ENV);
    let inserted = 0;
    for (const config of developmentConfigs) inserted += (await query(dataSource, insertConfig(config))).length;
    return { inserted };
  }
}

function urlOf(dataSource: DataSource): string {
  const { url } = dataSource.options as PostgresOptions;
  if (!url)
    throw new ConfigurationError('The DataSource has no url, so it cannot be known whether its database is local.');
  return url;
}
