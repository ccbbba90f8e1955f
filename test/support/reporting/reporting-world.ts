import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { AbstractLogger } from 'typeorm';
import { type ResidueClass } from '../../../src/fence/residue';
import { renewReporting, type RenewedReporting } from '../../../src/reporting/renew-reporting';
import { type ReportingPlace, type ReportingSettings } from '../../../src/reporting/settings';
import { holdIn } from '../../../src/testing';
import { type DatabaseOfFile, useTestDatabase } from '../database/use-test-database';
import { aRestaurantOf, EVEN, mapOf, ODD, ReplaceableSource } from '../shards/shards';

class Silence extends AbstractLogger {
  protected writeLog(): void {}
}
/** Lock time-outs are no news to a test that provokes them. */
export const QUIET = { logger: new Silence() };
const PASSWORD = "it's a \\ secret";

/** From then on no user mapping can be made in a database. */
export const REFUSE_MAPPINGS = `
  CREATE FUNCTION refuse_mapping() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
  CREATE EVENT TRIGGER refuse_mapping ON ddl_command_end WHEN TAG IN ('CREATE USER MAPPING') EXECUTE FUNCTION refuse_mapping()`;

/** Two databases of payments, a third for reports, and logins as the page has them, each a spec file's own. */
export function useReporting(): ReportingWorld {
  const world = new ReportingWorld(useTestDatabase(), useTestDatabase(), useTestDatabase({ empty: true }));
  beforeAll(() => world.createRoles());
  afterAll(() => world.dropRoles());
  return world;
}

export class ReportingWorld {
  readonly prefix = `test_${randomBytes(4).toString('hex')}`;
  readonly source = new ReplaceableSource({ version: 1, shards: [] });
  readonly password = PASSWORD;
  readonly #sessions: Client[] = [];

  constructor(
    readonly a: DatabaseOfFile,
    readonly b: DatabaseOfFile,
    readonly reporting: DatabaseOfFile,
  ) {}

  get role(): string {
    return `${this.prefix}_reporting`;
  }

  /** Whom the reporting database reads as. */
  get reader(): string {
    return `${this.prefix}_reader`;
  }

  /** Who asks for reports. */
  get analyst(): string {
    return `${this.prefix}_analyst`;
  }

  get place(): ReportingPlace {
    return { url: this.reporting.url, rolePrefix: this.prefix, say: () => undefined, dataSource: QUIET };
  }

  get settings(): ReportingSettings {
    return { ...this.place, reader: this.reader, readerPassword: this.password };
  }

  async createRoles(): Promise<void> {
    await this.reporting.query(`
      CREATE ROLE ${this.role} NOLOGIN;
      CREATE ROLE ${this.reader} LOGIN PASSWORD $$${PASSWORD}$$ IN ROLE ${this.role};
      CREATE ROLE ${this.analyst} LOGIN PASSWORD 'test' IN ROLE ${this.role}`);
    this.mapTo(1, { a: EVEN, b: ODD });
  }

  mapTo(version: number, shards: Partial<Record<'a' | 'b', ResidueClass>>): void {
    const entries = Object.entries(shards) as ['a' | 'b', ResidueClass][];
    const withUrls = entries.map(([name, shard]) => [name, { ...shard, url: this[name].url }] as const);
    this.source.map = mapOf(version, Object.fromEntries(withUrls));
  }

  renew(changes: Partial<ReportingSettings> = {}): Promise<RenewedReporting> {
    return renewReporting(this.source, { ...this.settings, ...changes });
  }

  /** A session of somebody who asks for reports. It is closed at the end of the file. */
  async report(): Promise<Client> {
    return await this.as(this.reporting, this.analyst, 'test');
  }

  /** A session of another login than the superuser's. */
  async as(database: DatabaseOfFile, user: string, password: string): Promise<Client> {
    const url = new URL(database.url);
    [url.username, url.password] = [user, encodeURIComponent(password)];
    const own = new Client({ connectionString: url.href, application_name: 'test' });
    own.on('error', () => undefined);
    this.#sessions.push(own);
    await own.connect();
    return own;
  }
  /** Restaurants of a class, each with a request that is authorized and its hold, at the database that has them. */
  async authorize(database: DatabaseOfFile, shard: ResidueClass, count: number): Promise<string[]> {
    const dataSource = await database.dataSource();
    const restaurants: string[] = [];
    for (let one = 0; one < count; one++) {
      const { restaurantId } = await holdIn(dataSource, 'held', {
        restaurantId: aRestaurantOf(shard),
        amountCents: 100 + one,
      });
      restaurants.push(restaurantId);
    }
    return restaurants;
  }

  async dropRoles(): Promise<void> {
    for (const session of this.#sessions.splice(0)) await session.end().catch(() => undefined);
    await this.reporting.query(`ALTER DATABASE ${this.reporting.name} OWNER TO CURRENT_USER`);
    for (const database of [this.a, this.b, this.reporting]) {
      const [names] = await database.query<{ all: string | null }>(
        `SELECT string_agg(quote_ident(rolname), ', ') AS all FROM pg_roles WHERE starts_with(rolname, $1)`,
        [`${this.prefix}_`],
      );
      if (names?.all) await database.query(`DROP OWNED BY ${names.all} CASCADE`);
      if (names?.all && database === this.reporting) await database.query(`DROP ROLE ${names.all}`);
    }
  }
}

/** The lines of a plan. */
export async function planOf(session: Client, sql: string): Promise<string> {
  const { rows } = await session.query<{ 'QUERY PLAN': string }>(`EXPLAIN (VERBOSE, COSTS OFF) ${sql}`);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}
