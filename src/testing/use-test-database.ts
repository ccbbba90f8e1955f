import { IsOptional } from 'class-validator';
import { Pool } from 'pg';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { ConfigurationError } from '../errors';
import { Callable } from '../validation/option-rules';
import { Flag } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { TemplateError } from './errors';
import { createTestDatabase, type TestDatabase } from './test-database';
import { currentTestRun } from './test-run';

/** What registers a hook for a file of tests: `beforeAll` and `afterAll` of Jest and Vitest are such. */
export type RegisterHook = (hook: () => Promise<void>, timeoutMs?: number) => unknown;

/** The hooks of the runner, and which database. */
export class UseTestDatabaseOptions {
  /** Default: the global one, as Jest has it, and Vitest with `globals: true`. */
  @IsOptional()
  @Callable()
  beforeAll?: RegisterHook;

  /** Default: the global one. */
  @IsOptional()
  @Callable()
  afterAll?: RegisterHook;

  /** An empty database instead of a copy of the migrated template. Default false. */
  @IsOptional()
  @Flag()
  empty?: boolean;
}

/** Longer than a loaded machine takes to copy a database: it ends a hook that hangs. */
const HOOK_TIMEOUT_MS = 120_000;

/**
 * Gives a test file a database of its own: a copy of the run's template, made before the first test and dropped after the
 * last. Needs `globalSetup: 'payment-events-db/testing/global-setup'`, or a set-up of yours that calls `startTestRun`.
 *
 * ```ts
 * const database = useTestDatabase(); // in Vitest without globals: useTestDatabase({ beforeAll, afterAll })
 * it('…', async () => {
 *   const requests = new AuthRequests(await database.dataSource());
 * });
 * ```
 *
 * @throws ConfigurationError naming each option that is wrong, or that there are no global hooks
 */
export function useTestDatabase(options?: UseTestDatabaseOptions): FileDatabase {
  const { empty = false, ...hooks } = validateSettings({ UseTestDatabaseOptions }, options);
  const { beforeAll, afterAll } = { ...(globalThis as Partial<Required<UseTestDatabaseOptions>>), ...hooks };
  if (!beforeAll || !afterAll) {
    throw new ConfigurationError('There are no global hooks. Say useTestDatabase({ beforeAll, afterAll }).');
  }
  const database = new FileDatabase();
  beforeAll(() => database.create({ empty }), HOOK_TIMEOUT_MS);
  afterAll(() => database.drop(), HOOK_TIMEOUT_MS);
  return database;
}

/** The database of one test file. For runners of other kinds, call {@link create} first and {@link drop} last. */
export class FileDatabase {
  #database: TestDatabase | undefined;
  #pool: Pool | undefined;
  #dataSource: Promise<PaymentEventsDataSource> | undefined;

  /** Such as for `DATABASE_URL` of a service under test. */
  get url(): string {
    return this.#created().url;
  }

  get name(): string {
    return this.#created().name;
  }

  /** Runs SQL on a connection of its own and returns the rows: those of the last statement, if there are many. */
  async query<Row = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]> {
    this.#pool ??= new Pool({ connectionString: this.url, application_name: 'test' }).on('error', () => undefined);
    const result: unknown = await this.#pool.query(sql, params);
    return ([result].flat().at(-1) as { rows: Row[] }).rows;
  }

  /** The open DataSource of this database, one for the whole file. It is closed with it. */
  dataSource(): Promise<PaymentEventsDataSource> {
    const options = createDataSourceOptions({ url: this.url });
    return (this.#dataSource ??= new PaymentEventsDataSource(options).initialize());
  }

  /** Makes it. @throws TemplateError the template of the run could not be made */
  async create({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    const { serverUrl, prefix, template, templateError } = currentTestRun();
    if (!empty && templateError !== undefined) throw new TemplateError(templateError);
    this.#database = await createTestDatabase(serverUrl, empty ? { prefix } : { prefix, template });
  }

  /** Ends what this object has opened; what is asked of it afterwards opens again. */
  async closeSessions(): Promise<void> {
    const dataSource = await this.#dataSource?.catch(() => undefined);
    if (dataSource?.isInitialized) await dataSource.destroy();
    await this.#pool?.end();
    this.#dataSource = this.#pool = undefined;
  }

  /** Ends all sessions and drops it. */
  async drop(): Promise<void> {
    await this.closeSessions();
    await this.#database?.drop();
    this.#database = undefined;
  }

  #created(): TestDatabase {
    if (this.#database) return this.#database;
    throw new ConfigurationError('The test database is made before the first test: use it in tests and hooks.');
  }
}
