import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSchema } from './support/read-schema';
import { schemaPage } from './support/schema-page';
import { withMigratedDatabase } from './support/with-migrated-database';

/** Writes docs/reference/schema.md from what the migrations make on a test server. */
void withMigratedDatabase(async (dataSource) => {
  writeFileSync(join(__dirname, '../docs/reference/schema.md'), schemaPage(await readSchema(dataSource)));
});
