import { type DataSource } from 'typeorm';

/**
 * Prints the name of each migration when it starts and where it fails. TypeORM speaks only after success, and a
 * migration that waits or fails must be known by name.
 */
export function sayEachMigration(dataSource: DataSource): void {
  for (const migration of dataSource.migrations) {
    const name = migration.name ?? migration.constructor.name;
    const up = migration.up.bind(migration);
    migration.up = async (queryRunner) => {
      console.log(`Applying ${name}`);
      try {
        await up(queryRunner);
      } catch (error) {
        console.log(`${name} failed.`);
        throw error;
      }
    };
  }
}
