import { createProgram } from '../../src/cli/program';
import { ENVIRONMENT_VARIABLES, DEFAULT_DATABASE_URL, readConfig } from '../../src/config';
import { createDataSourceOptions } from '../../src/data-source';
import { docTable } from '../support/docs/doc-table';

const PAGE = 'docs/reference/settings.md';
const number = (text: string) => Number(text.replaceAll(',', ''));

/** What a table says is the default of each setting. */
const defaultsIn = (heading: string) =>
  Object.fromEntries(docTable(PAGE, heading).map((cells) => [cells[0]!, cells.at(-2)!]));

describe('the page of settings', () => {
  const variables = defaultsIn('Environment');
  const ofDataSource = defaultsIn('The DataSource');

  test('has the variables that readConfig reads, and no other', () => {
    expect(ENVIRONMENT_VARIABLES.length).toBeGreaterThan(10);
    expect(Object.keys(variables)).toEqual(ENVIRONMENT_VARIABLES);
  });

  test('says of each variable what it may hold and means', () => {
    const incomplete = docTable(PAGE, 'Environment').filter((cells) => cells.length !== 4 || cells.includes(''));
    // Any text is allowed there.
    expect(incomplete.map(([name]) => name)).toEqual(['NODE_ENV']);
  });

  test('says what leaves DATABASE_URL without a default', () => {
    const [, , , meaning] = docTable(PAGE, 'Environment').find(([name]) => name === 'DATABASE_URL')!;
    for (const [variable, value] of Object.entries({
      NODE_ENV: 'production',
      PAYMENT_EVENTS_DB_SHARDS: 'shards.json',
    })) {
      expect(() => readConfig({ [variable]: value })).toThrow(/^DATABASE_URL must be set/);
      expect(/Must be set[^.]*\./.exec(meaning!)![0]).toContain(variable);
    }
  });

  test('has the defaults of the DataSource that are applied', () => {
    const options = createDataSourceOptions({ url: DEFAULT_DATABASE_URL });
    const applied = options.extra as Record<string, unknown>;
    expect(ofDataSource).toMatchObject({
      schema: options.schema,
      applicationName: options.applicationName,
      timeoutsVia: 'startup',
      preparedStatements: applied.preparedStatements,
    });
    expect({
      poolSize: number(ofDataSource.poolSize!),
      connectTimeoutMs: number(ofDataSource.connectTimeoutMs!),
      statementTimeoutMs: number(ofDataSource.statementTimeoutMs!),
      lockTimeoutMs: number(ofDataSource.lockTimeoutMs!),
      idleInTransactionTimeoutMs: number(ofDataSource.idleInTransactionTimeoutMs!),
    }).toEqual({
      poolSize: options.poolSize,
      connectTimeoutMs: options.connectTimeoutMS,
      statementTimeoutMs: applied.statement_timeout,
      lockTimeoutMs: applied.lock_timeout,
      idleInTransactionTimeoutMs: applied.idle_in_transaction_session_timeout,
    });
    expect(variables.NODE_ENV).toBe(readConfig({}).nodeEnv);
  });

  test('says of the relay what its command says', () => {
    const { options } = createProgram().commands.find((command) => command.name() === 'relay')!;
    const ofCommand = options.filter(({ defaultValue }) => typeof defaultValue === 'number');
    expect(ofCommand.length).toBeGreaterThan(5);
    const said = defaultsIn('The relay');
    for (const option of ofCommand) {
      const setting = option.attributeName();
      expect({ setting, default: number(said[setting]!) }).toEqual({ setting, default: option.defaultValue as number });
    }
  });
});
