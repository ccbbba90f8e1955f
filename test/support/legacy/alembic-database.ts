import { loadLegacyDatabase } from './legacy-fixture';
import { type DatabaseOfFile } from '../database/use-test-database';

/** Makes a database as Alembic and the legacy services left it: their rows, `alembic_version`, and nothing of ours. */
export async function loadAlembicDatabase(database: DatabaseOfFile): Promise<void> {
  await loadLegacyDatabase(database);
  // Alembic's own text of the function is indented in another way.
  await database.query(`
    DROP TABLE payment_events_db_migrations;
    CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $$
        BEGIN
            NEW.updated_at = NOW();
            RETURN NEW;
        END;
    $$ LANGUAGE 'plpgsql'`);
}
