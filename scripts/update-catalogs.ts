import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDataSourceOptions, PaymentEventsDataSource } from '../src/data-source';
import { migrations } from '../src/migrations';
import { readCatalog } from '../src/migrator/catalog';
import { createTestDatabase, startTestServer } from '../src/testing';

/** The files in src/migrator/catalogs, in the order of the chain: what each is of, and how many migrations make it. */
const CATALOGS = [
  { file: 'alembic-9a82c6d3b654', constant: 'ALEMBIC_9A82C6D3B654', level: 1 },
  { file: 'alembic-09c2b295afcd', constant: 'ALEMBIC_09C2B295AFCD', level: 2 },
  { file: 'target', constant: 'TARGET', level: migrations.length },
];

/** Writes the committed catalogs anew from what the migrations make on a test server. Look at the diff before you commit. */
async function updateCatalogs(): Promise<void> {
  const server = await startTestServer();
  try {
    const database = await createTestDatabase(server.url);
    for (const { file, constant, level } of CATALOGS) {
      const dataSource = new PaymentEventsDataSource({
        ...createDataSourceOptions({ url: database.url }),
        migrations: migrations.slice(0, level),
      });
      await dataSource.initialize();
      try {
        await dataSource.runMigrations();
        write(file, constant, await readCatalog(dataSource));
      } finally {
        await dataSource.destroy();
      }
    }
    await database.drop();
  } finally {
    await server.stop();
  }
}

function write(file: string, constant: string, catalog: string): void {
  const text = catalog.replace(/\\|`|\$\{/g, (special) => `\\${special}`);
  const path = join(__dirname, '../src/migrator/catalogs', `${file}.ts`);
  writeFileSync(
    path,
    `/** Made by \`npm run catalog:update\`; do not edit. */\nexport const ${constant} = \`${text}\`;\n`,
  );
}

void updateCatalogs();
