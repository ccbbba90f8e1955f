import { type DataSourceOptions } from 'typeorm';
import { ConfigurationError } from '../errors';

type Listed = Pick<DataSourceOptions, 'entities' | 'migrations'>;
type Asked = Listed & Pick<DataSourceOptions, 'synchronize' | 'dropSchema' | 'migrationsTableName'>;

/** Where it is said how to have them: in the package, too. */
const ADVICE =
  'Give them to a second DataSource, one of TypeORM, with a migrationsTableName of its own: its documentation has how to keep own tables.';

/**
 * A history that two share has each of them find migrations that it does not know, so that neither can migrate any more.
 * Fewer than ours are no danger: what is left out is not there, and nothing else.
 *
 * @param ours what there may be
 * @throws ConfigurationError there is something else, or TypeORM is to change or drop tables by itself
 */
export function assertOwnOptions(asked: Asked, ours: Listed & { readonly migrationsTableName: string }): void {
  const foreign = (['entities', 'migrations'] as const).flatMap((list) => {
    const known = new Set<unknown>(listOf(ours[list]));
    return listOf(asked[list]).filter((each) => !known.has(each));
  });
  if (foreign.length > 0) {
    const names = foreign.map((each) => `  ${nameOf(each)}\n`).join('');
    throw new ConfigurationError(`These entities or migrations are not of payment-events-db:\n${names}${ADVICE}`);
  }
  const { migrationsTableName } = ours;
  if (asked.migrationsTableName !== migrationsTableName) {
    throw new ConfigurationError(`migrationsTableName must be ${migrationsTableName}, where the history is. ${ADVICE}`);
  }
  if (asked.synchronize) throw notBy('synchronize');
  if (asked.dropSchema) throw notBy('dropSchema');
}

/** TypeORM is to change or drop the tables past their migrations, and with them the money that they tell of. */
export const notBy = (what: string): ConfigurationError =>
  new ConfigurationError(
    `${what} is not for the database of payments: it would drop columns or tables with the rows in them. ` +
      'Only migrations change it: npx payment-events-db migrate. For tests, see payment-events-db/testing.',
  );

const listOf = (list: Listed['entities'] | Listed['migrations']): unknown[] => Object.values(list ?? {});

/** Of a class, of an EntitySchema, or the pattern of files that was given instead. */
function nameOf(each: unknown): string {
  if (typeof each === 'string') return each;
  const { name, options } = each as { name?: string; options?: { name?: string } };
  return name ?? options?.name ?? 'one without a name';
}
