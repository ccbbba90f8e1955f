import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { existingRoles, withGrants } from '../grants/expected-grants';
import { type Role } from '../grants/privileges';
import { roleName, RolePrefix } from '../grants/role-name';
import { Flag } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { type AlembicRevision, MIRRORED_REVISIONS, mirroredRevision, NotMadeByAlembicError } from '../migrator/alembic';
import { type Queryable } from '../database/queryable';
import { readCatalog } from '../schema/catalog';
import { alembicCatalogs, catalogAfter, targetCatalog } from '../schema/catalogs';
import { compareCatalogs, type Drift } from '../schema/compare-catalogs';
import { HalfAppliedError, PendingMigrationsError } from '../migrator/errors';
import { withoutAuditor } from './auditor';
import { readExposures } from './exposures';
import { withReportingViews } from './reporting-views';
import { assertSound, halfApplied, namesOf, readHistory } from '../migrator/history';
import { withFence, withRemedyOfFences } from './fence';
import { findForeignSequences, findStaleSequences } from './sequences';
import { isClass, type ResidueClass } from '../fence/residue';
import { isNumber } from '../fence/sequence-range';
import { rule } from '../validation/rule';

const Shard = () =>
  rule({
    name: 'shard',
    holds: (value) => {
      const shard = value as DriftOptions['shard'] & object;
      return isClass(shard) && (shard.number === undefined || isNumber(shard.number));
    },
    message: 'must be a class of restaurants, with the number of the database',
  });

/** What else a comparison of the schema may be told. */
export class DriftOptions {
  /** What the names of the services' roles begin with. Default `payment_events`. See `grantPrivileges`. */
  @IsOptional()
  @RolePrefix()
  rolePrefix?: string;

  /** Leaves out who was granted what: for a database where `grants` does not run. Default false. */
  @IsOptional()
  @Flag()
  ignorePrivileges?: boolean;

  /**
   * Which restaurants and which numbers the database must have, such as an entry of a map of shards. Default: its fence may be of
   * any class, but is to be whole, and its sequences may count in any range.
   */
  @IsOptional()
  @Shard()
  shard?: ResidueClass & { readonly number?: number };
}

/**
 * Compares the schema of the database with what its migrations make: every object of its tables, down to whether a
 * guard is switched on, an index valid, and who was granted what, and so the views that a reporting database reads, where
 * there are any. Of the services' roles those that exist are expected
 * to have their privileges; nobody else is to have any, but for the role that pgaudit goes by, where nobody can act as it.
 * Reads only; any role that may read the history may do it.
 *
 * Where every migration has run, it looks beside the tables too, at what opens them to somebody or closes them to the
 * services: settings of the database and of roles that switch guards off or allow reads alone, what the services' roles
 * are besides groups, CREATE on schema and database, default privileges, event triggers, publications of what is secret.
 *
 * Sequences that are behind what their tables have differ too, of those that the role may read: the owner may all.
 *
 * A fence, which keeps the restaurants of other databases out, is as it should be where all its tables have the same one, whole.
 *
 * A database is compared with what the migrations make that it has; one that Alembic made, taken over just now or
 * not yet, with what Alembic made. Privileges that the services lack count once every migration has run, since `grants`
 * comes after it; those that they have before, as a revert leaves them, are to be no more than they will have.
 *
 * ```ts
 * for (const { kind, object } of await findDrift(dataSource)) logger.warn(`${kind}: ${object}`);
 * ```
 *
 * Where the network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 *
 * @returns what differs; nothing where all is as it should be
 * @throws PendingMigrationsError where no migration has run, or one was left out
 * @throws HalfAppliedError where a migration did not come to its end
 * @throws UnknownMigrationsError, ChangedMigrationsError, UnknownAlembicRevisionError where it is not known what to expect
 * @throws ConfigurationError the prefix is malformed
 */
export async function findDrift(dataSource: DataSource, options?: DriftOptions): Promise<Drift[]> {
  return (await compareSchema(dataSource, options)).drift;
}

/**
 * The same, and with what it was compared, for people: `the newest migration`.
 *
 * @throws what {@link findDrift} throws
 */
export async function compareSchema(
  dataSource: DataSource,
  options?: DriftOptions,
): Promise<{ name: string; drift: Drift[] }> {
  const { rolePrefix, ignorePrivileges, shard } = validateSettings({ DriftOptions }, options);
  const { name, catalog, isNewest, roles } = await expectedSchema(dataSource, rolePrefix);
  const actual = await readCatalog(dataSource);
  const beside = isNewest ? await readExposures(dataSource, rolePrefix) : [];
  const different = withRemedyOfFences(compareCatalogs(withFence(catalog, actual, shard), actual)).filter(
    (one) => isNewest || !isMissingPrivilege(one),
  );
  const drift = [
    ...(await withReportingViews(dataSource, await withoutAuditor(dataSource, different), rolePrefix)),
    ...(await findStaleSequences(dataSource)),
    ...(shard?.number === undefined ? [] : await findForeignSequences(dataSource, shard.number)),
    ...beside,
  ];
  if (ignorePrivileges) return { name, drift: drift.filter((one) => !isPrivilege(one)) };
  const groups = roles.map((role) => roleName(role, rolePrefix));
  return { name, drift: isGranted(actual, groups) ? drift : withoutMissing(drift, groups) };
}

const isPrivilege = ({ object }: Drift) => object.includes(': grant ');

const isMissingPrivilege = (one: Drift) => isPrivilege(one) && one.kind === 'missing';

/** Whether any of them has anything: `grants` gives each of them something. */
const isGranted = (catalog: string, groups: string[]) =>
  groups.length === 0 || groups.some((group) => catalog.includes(` to ${group}\n`));

/** A line for each privilege of each service would hide all else: one says that `grants` has not run here. */
function withoutMissing(drift: Drift[], groups: string[]): Drift[] {
  const object =
    `privileges of ${groups.join(', ')}: grants has not run on this database. Run npx payment-events-db grants, or ` +
    'ignore them with --ignore-privileges';
  const rest = drift.filter((one) => !isMissingPrivilege(one));
  return [...rest, { kind: 'missing', object, expected: null, actual: null }];
}

/** What {@link findDrift} compares a database with. */
interface ExpectedSchema {
  /** For people: `the newest migration`, `Alembic revision 09c2b295afcd`. */
  readonly name: string;
  readonly catalog: string;
  readonly isNewest: boolean;
  /** Of the services, those that must have their privileges. */
  readonly roles: readonly Role[];
}

/** @throws what {@link findDrift} throws */
async function expectedSchema(dataSource: DataSource, rolePrefix: string | undefined): Promise<ExpectedSchema> {
  const history = await readHistory(dataSource);
  assertSound(history);
  const begun = halfApplied(history);
  if (begun) throw new HalfAppliedError(begun);
  const [applied, pending] = [namesOf(history, 'applied'), namesOf(history, 'pending')];
  const roles = await existingRoles(dataSource, rolePrefix);
  const granted = (catalog: string) => withGrants(catalog, roles, rolePrefix);
  if (pending.length === 0) {
    return { name: 'the newest migration', catalog: granted(targetCatalog), isNewest: true, roles };
  }
  const onTheWay = { isNewest: false, roles: [] };
  const revision = applied.length === 0 ? await revisionOf(dataSource) : MIRRORED_REVISIONS[applied.length - 1];
  if (revision) return { name: `Alembic revision ${revision}`, catalog: alembicCatalogs[revision], ...onTheWay };
  const newest = applied.at(-1);
  const hasGap = history[applied.length - 1]?.name !== newest;
  const catalog = newest === undefined || hasGap ? undefined : catalogAfter(newest);
  if (catalog === undefined) throw new PendingMigrationsError(pending);
  return { name: `migration ${newest}`, catalog: granted(catalog), ...onTheWay };
}

async function revisionOf(session: Queryable): Promise<AlembicRevision | undefined> {
  try {
    return await mirroredRevision(session);
  } catch (error) {
    if (error instanceof NotMadeByAlembicError) return undefined;
    throw error;
  }
}
