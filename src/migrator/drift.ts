import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { existingRoles, withGrants } from '../grants/expected-grants';
import { RolePrefix } from '../grants/role-name';
import { validateSettings } from '../validation/validate-options';
import { type AlembicRevision, MIRRORED_REVISIONS, mirroredRevision, NotMadeByAlembicError } from './alembic';
import { type Queryable, readCatalog } from './catalog';
import { alembicCatalogs, targetCatalog } from './catalogs';
import { compareCatalogs, type Drift } from './compare-catalogs';
import { PendingMigrationsError } from './errors';
import { assertSound, namesOf, readHistory } from './history';

export class DriftOptions {
  /** What the names of the services' roles begin with. Default `payment_events`. See `grantPrivileges`. */
  @IsOptional()
  @RolePrefix()
  rolePrefix?: string;
}

/**
 * Compares the schema of the database with what its migrations make: every object of the six tables, down to whether a
 * guard is switched on, an index valid, and who was granted what. Of the services' roles those that exist are expected
 * to have their privileges; nobody else is to have any. Reads only; any role that may read the history may do it.
 *
 * A database that has every migration is compared with the newest schema; one that Alembic made, be it taken over just
 * now or not yet, with that of its revision.
 *
 * ```ts
 * for (const { kind, object } of await findDrift(dataSource)) logger.warn(`${kind}: ${object}`);
 * ```
 *
 * Where the network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 *
 * @returns what differs; nothing where all is as it should be
 * @throws PendingMigrationsError where the database is on its way from one to the other
 * @throws UnknownMigrationsError, ChangedMigrationsError, UnknownAlembicRevisionError where it is not known what to expect
 * @throws ConfigurationError the prefix is malformed
 */
export async function findDrift(dataSource: DataSource, options?: DriftOptions): Promise<Drift[]> {
  const { catalog } = await expectedSchema(dataSource, options);
  return compareCatalogs(catalog, await readCatalog(dataSource));
}

/** What {@link findDrift} compares a database with. */
export interface ExpectedSchema {
  /** For people: `the newest migration`, `Alembic revision 09c2b295afcd`. */
  readonly name: string;
  readonly catalog: string;
}

/** @throws what {@link findDrift} throws */
export async function expectedSchema(dataSource: DataSource, options?: DriftOptions): Promise<ExpectedSchema> {
  const { rolePrefix } = validateSettings(DriftOptions, options);
  const history = await readHistory(dataSource);
  assertSound(history);
  const [applied, pending] = [namesOf(history, 'applied'), namesOf(history, 'pending')];
  if (pending.length === 0) {
    const roles = await existingRoles(dataSource, rolePrefix);
    return { name: 'the newest migration', catalog: withGrants(targetCatalog, roles, rolePrefix) };
  }
  const revision = applied.length === 0 ? await revisionOf(dataSource) : MIRRORED_REVISIONS[applied.length - 1];
  if (!revision) throw new PendingMigrationsError(pending);
  return { name: `Alembic revision ${revision}`, catalog: alembicCatalogs[revision] };
}

async function revisionOf(session: Queryable): Promise<AlembicRevision | undefined> {
  try {
    return await mirroredRevision(session);
  } catch (error) {
    if (error instanceof NotMadeByAlembicError) return undefined;
    throw error;
  }
}
