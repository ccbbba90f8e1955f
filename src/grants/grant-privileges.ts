import { IsOptional } from 'class-validator';
import { type DataSource, type QueryRunner } from 'typeorm';
import { query, sql } from '../database/sql';
import { translateError } from '../database/translate-error';
import { assertNonePending, readHistory } from '../migrator/history';
import { type Say, toLogger, withMigrationLock } from '../migrator/migration-lock';
import { Callable } from '../validation/option-rules';
import { validateSettings } from '../validation/validate-options';
import { existingRoles } from './expected-grants';
import { grantsSql, type Place } from './grants-sql';
import { assertAllowed } from './obstacles';
import { ROLES } from './privileges';
import { roleName, roleNames, RolePrefix } from './role-name';

const READ_PLACE = sql`
  SELECT quote_ident(current_database()) AS database, quote_ident(current_schema()) AS schema`;

/** To which roles to grant, and who is told of waiting. */
export class GrantOptions {
  /** What the names of the roles begin with. Default `payment_events`: `payment_events_api` and so on. */
  @IsOptional()
  @RolePrefix()
  rolePrefix?: string;

  /** Is told when it waits for another process that migrates the database. Default: the DataSource's logger. */
  @IsOptional()
  @Callable()
  say?: Say;
}

/** A role that has its privileges now. */
export interface GrantedRole {
  readonly name: string;
  /** It did not exist before. */
  readonly created: boolean;
}

/**
 * Gives the roles of the services exactly what their operations need, and makes those that are missing. In one
 * transaction, harmless again, while services go on. Whatever else the roles or PUBLIC had on our objects is revoked.
 *
 * For the owner of the database and its tables; CREATEROLE is needed only where a role is missing.
 *
 * Where the network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 *
 * @throws GrantsRefusedError, PendingMigrationsError before anything is changed
 * @throws MigrationInProgressError; ConfigurationError an option is malformed
 *
 * @example
 * const roles = await grantPrivileges(dataSource);
 * // GRANT payment_events_api TO the user that the API logs in as
 */
export async function grantPrivileges(dataSource: DataSource, options?: GrantOptions): Promise<GrantedRole[]> {
  const { rolePrefix, say = toLogger(dataSource) } = validateSettings({ GrantOptions }, options);
  const names = roleNames(rolePrefix);
  try {
    await assertAllowed(dataSource, names);
    return await withMigrationLock(dataSource, say, async (queryRunner) => {
      assertNonePending(await readHistory(dataSource, queryRunner));
      const existing = await existingRoles(queryRunner, rolePrefix);
      await runWhole(queryRunner, await planGrants(queryRunner, rolePrefix));
      return ROLES.map((role) => ({ name: roleName(role, rolePrefix), created: !existing.includes(role) }));
    });
  } catch (error) {
    throw translateError(error);
  }
}

/** The SQL that {@link grantPrivileges} runs on this database. Changes nothing. */
export async function planGrants(database: Pick<DataSource, 'query'>, rolePrefix?: string): Promise<string> {
  const [place] = await query<Place>(database, READ_PLACE);
  return grantsSql(place!, rolePrefix);
}

/** It is a transaction by itself. */
async function runWhole(queryRunner: QueryRunner, sql: string): Promise<void> {
  try {
    await queryRunner.query(sql);
  } catch (error) {
    await queryRunner.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
