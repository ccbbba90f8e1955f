import { randomBytes } from 'node:crypto';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { grantPrivileges } from '../../../src/grants/grant-privileges';
import { type Role, ROLES } from '../../../src/grants/privileges';
import { quietDataSource } from './quiet-data-source';
import { type DatabaseOfFile } from './use-test-database';

type User = Role | 'owner';

/**
 * Roles for a spec file that nobody else has, since roles belong to the whole server: a login that owns the file's
 * database and may create roles, but is no superuser, and names for the rest. Dropped after the file's last test.
 */
export function useRoles(database: DatabaseOfFile): RolesOfFile {
  const roles = new RolesOfFile(database);
  beforeAll(() => roles.createOwner());
  afterAll(() => roles.drop());
  return roles;
}

export class RolesOfFile {
  /** For `rolePrefix`. */
  readonly prefix = `test_${randomBytes(4).toString('hex')}`;
  readonly #database: DatabaseOfFile;
  readonly #dataSources = new Map<User, Promise<PaymentEventsDataSource>>();

  constructor(database: DatabaseOfFile) {
    this.#database = database;
  }

  get owner(): string {
    return this.user('owner');
  }

  /** The group. */
  group(role: Role): string {
    return `${this.prefix}_${role}`;
  }

  /** The login. */
  user(user: User): string {
    return `${this.prefix}_user_${user}`;
  }

  url(user: User): string {
    const url = new URL(this.#database.url);
    [url.username, url.password] = [this.user(user), PASSWORD];
    return url.href;
  }

  /** A DataSource for that login, one for the whole file. */
  as(user: User): Promise<PaymentEventsDataSource> {
    const known = this.#dataSources.get(user) ?? quietDataSource({ url: this.url(user), poolSize: 4 });
    this.#dataSources.set(user, known);
    return known;
  }

  async createOwner(): Promise<void> {
    await this.#database.query(`CREATE ROLE ${this.owner} LOGIN CREATEROLE PASSWORD '${PASSWORD}'`);
    await this.#database.query(`ALTER DATABASE ${this.#database.name} OWNER TO ${this.owner}`);
  }

  /** Hands a migrated database over, and does there what an operator does: the owner grants and makes the logins. */
  async setUp(): Promise<void> {
    await this.handOver();
    await grantPrivileges(await this.as('owner'), { rolePrefix: this.prefix });
    await this.createLogins();
  }

  /** Gives everything in the database to the owner, as a restored dump does. */
  async handOver(): Promise<void> {
    const statements = await this.#database.query<{ statement: string }>(
      `SELECT format('ALTER %s %s OWNER TO %I', CASE relkind WHEN 'r' THEN 'TABLE' ELSE 'SEQUENCE' END, oid::regclass, $1::text)
         AS statement
       FROM pg_class WHERE relnamespace = 'public'::regnamespace AND (relkind = 'r' OR relkind = 'S' AND oid NOT IN (
         SELECT objid FROM pg_depend WHERE deptype IN ('a', 'i')))
       UNION ALL
       SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, $1::text)
       FROM pg_proc WHERE pronamespace = 'public'::regnamespace`,
      [this.owner],
    );
    for (const { statement } of statements) await this.#database.query(statement);
  }

  /** A login in each group. */
  async createLogins(): Promise<void> {
    const owner = await this.as('owner');
    for (const role of ROLES) {
      await owner.query(`CREATE ROLE ${this.user(role)} LOGIN PASSWORD '${PASSWORD}' IN ROLE ${this.group(role)}`);
    }
  }

  async drop(): Promise<void> {
    for (const dataSource of this.#dataSources.values()) await (await dataSource).destroy();
    await this.#database.query(`ALTER DATABASE ${this.#database.name} OWNER TO CURRENT_USER`);
    const [names] = await this.#database.query<{ all: string | null }>(
      `SELECT string_agg(quote_ident(rolname), ', ') AS all FROM pg_roles WHERE starts_with(rolname, $1)`,
      [`${this.prefix}_`],
    );
    if (names?.all) await this.#database.query(`DROP OWNED BY ${names.all} CASCADE; DROP ROLE ${names.all}`);
  }
}

const PASSWORD = 'test';
