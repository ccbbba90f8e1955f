import { type Config } from '../../config';
import { createDatabaseIfMissing, createSchemaIfMissing } from '../../database/create-database';
import { migrate } from '../../migrator/migrator';
import { DevelopmentSeeder } from '../../seeds';
import { withDataSource } from '../with-data-source';

/** What was done to a database. */
export interface Prepared {
  /** Whether it was made now. */
  readonly created: boolean;
  /** The migrations that ran. */
  readonly applied: readonly string[];
  /** How many rows the seed has added; `null` where none was asked for. */
  readonly seeded: number | null;
}

/**
 * Makes a database on a server that runs, with its schema, and migrates it; with development data, where that is asked
 * for. Harmless where it is there already.
 */
export async function prepareDatabase(
  config: Config,
  { seed = false, say }: { seed?: boolean; say: (line: string) => void },
): Promise<Prepared> {
  const created = await createDatabaseIfMissing(config.databaseUrl);
  const { schema } = config.dataSource;
  if (schema !== undefined) await createSchemaIfMissing(config.databaseUrl, schema);
  let applied: string[] = [];
  let seeded: number | null = null;
  await withDataSource(config, async (dataSource) => {
    applied = (await migrate(dataSource, { say })).map(({ name }) => name);
    if (seed) ({ inserted: seeded } = await new DevelopmentSeeder().run(dataSource));
  });
  return { created, applied, seeded };
}
