import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { type CommentChanges } from '../src/migrations/helpers/comments';
import { missingComments } from './support/explanations';
import { readSchema } from './support/read-schema';
import { withMigratedDatabase } from './support/with-migrated-database';

/**
 * `npm run migration:comments`: prints what the migrations lack for the database to say what src/schema/comments.ts says,
 * to be put into the migration that makes the objects. With a name, it writes a migration of that name that does nothing
 * else, for texts that have changed.
 */
async function draftComments(name: string | undefined): Promise<void> {
  await withMigratedDatabase(async (dataSource) => {
    const changes = missingComments(await readSchema(dataSource));
    if (Object.keys(changes).length === 0) return console.log('The migrations say what src/schema/comments.ts says.');
    const constant = `const COMMENTS: CommentChanges = ${JSON.stringify(changes)};`;
    if (name === undefined) return (process.stdout.write(await formatted(constant)), undefined);
    const time = Date.now();
    const file = join('src/migrations', `${time}-${name}.ts`);
    writeFileSync(join(__dirname, '..', file), await formatted(migrationOf(`${name}${time}`, changes, constant)));
    console.log(`Wrote ${file}. Say in it what has changed, and add it to src/migrations/index.ts.`);
  });
}

const formatted = async (code: string) =>
  await format(code, { ...(await resolveConfig(join(__dirname, 'draft.ts'))), parser: 'typescript' });

const migrationOf = (name: string, changes: CommentChanges, constant: string) => `
  import { type MigrationInterface, type QueryRunner } from 'typeorm';
  import { type CommentChanges, putComments, takeBackComments } from './helpers/comments';

  /**
   * Comments for objects of ${Object.keys(changes).join(', ')}.
   *
   * Locks: SHARE UPDATE EXCLUSIVE on those, in one transaction, for some milliseconds: it stops no reads or writes.
   * Services of the version before keep working. Re-runnable. A comment that an owner has written stays, up and down.
   * Down brings back the comments that were there before.
   */
  export class ${name} implements MigrationInterface {
    name = '${name}';
    transaction = false;

    async up(queryRunner: QueryRunner): Promise<void> {
      await putComments(queryRunner, COMMENTS);
    }

    async down(queryRunner: QueryRunner): Promise<void> {
      await takeBackComments(queryRunner, COMMENTS);
    }
  }

  /** As src/schema/comments.ts had them when this was written. */
  ${constant}`;

void draftComments(process.argv[2]);
