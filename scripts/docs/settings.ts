import { exports as EXPORTS } from '../../package.json';
import { DEFAULT_DATABASE_URL, ENVIRONMENT_VARIABLES, readConfig } from '../../src/config';
import { PaymentEventsDataSourceSettings } from '../../src/connection/data-source-settings';
import { KEY_VARIABLES } from '../../src/cli/keys-from-environment';
import { REPORTING_VARIABLES } from '../../src/cli/reporting-from-environment';
import { SHARD_VARIABLES } from '../../src/cli/shards/variables';
import { ShardsOptions } from '../../src/shards/shards-settings';
import { PaymentConfigsOptions } from '../../src/configs/restaurant-payment-configs';
import { ConfigurationError } from '../../src/errors';
import { RelayOptions } from '../../src/outbox/outbox-relay';
import { SweeperOptions } from '../../src/sweeper/sweeper-options';
import { docComment } from './api/doc-comment';
import { Links } from './api/links';
import { membersOf } from './api/members';
import { type PublicApi } from './api/public-api';
import { code, codeBlock, madeBy, page, table } from './markdown';
import { allowedIn, inWords } from './rules';

/** One setting, as its doc comment and its rule have it. */
interface Setting {
  readonly name: string;
  readonly isOptional: boolean;
  readonly unit: string;
  readonly allowed: string;
  readonly fallback: string;
  readonly meaning: string;
}

/** The page of settings, by its path in docs/reference. */
export async function settingsReference(api: PublicApi): Promise<Map<string, string>> {
  const dataSource = settingsOf(api, PaymentEventsDataSourceSettings);
  const parts = [
    madeBy('docs:settings', 'the settings themselves'),
    '# Settings',
    '## Environment',
    ENVIRONMENT,
    table(['variable', 'allowed', 'default', 'meaning'], variables(api, dataSource)),
    '## The DataSource',
    DATA_SOURCE,
    inTable(dataSource),
    '## The relay',
    RELAY,
    inTable(settingsOf(api, RelayOptions)),
    '## The sweeper',
    SWEEPER,
    inTable(settingsOf(api, SweeperOptions)),
    '## Secrets of configurations',
    SECRETS,
    table(
      ['variable of the command line', 'meaning'],
      Object.entries(KEY_VARIABLES).map(([name, meaning]) => [code(name), meaning]),
    ),
    inTable(settingsOf(api, PaymentConfigsOptions)),
    '## Several databases',
    SHARDS,
    table(
      ['variable', 'meaning'],
      Object.entries(SHARD_VARIABLES).map(([name, meaning]) => [code(name), meaning]),
    ),
    inTable(settingsOf(api, ShardsOptions)),
    '## Reports',
    REPORTS,
    table(
      ['variable of the command line', 'meaning'],
      Object.entries(REPORTING_VARIABLES).map(([name, meaning]) => [code(name), meaning]),
    ),
    ...(await publisherOptions()).flatMap((Options) => [
      `## ${Options.name.replace(/Options$/, '')}`,
      inTable(settingsOf(api, Options)),
    ]),
  ];
  return new Map([['settings.md', page(...parts)]]);
}

/** The options of every publisher that the package exports. */
const publisherOptions = async () => {
  const modules = Object.values(EXPORTS)
    .map((entry) => (typeof entry === 'string' ? entry : entry.default))
    .flatMap((path) => /dist(\/src\/publishers\/.*)\.js$/.exec(path)?.[1] ?? []);
  const exported = await Promise.all(
    modules.map((module) => import(`../..${module}`) as Promise<Record<string, new () => object>>),
  );
  return exported.flatMap((one) => Object.values(one)).filter(({ name }) => name.endsWith('PublisherOptions'));
};

const ENVIRONMENT = `What \`readConfig()\`, the command line and \`ormconfig\` read. A variable that is empty counts as not set. A value that is
wrong is refused by the name of the variable, and not repeated. Sockets, TLS and special characters in \`DATABASE_URL\`:
[connect](../how-to/connect.md).`;

const DATA_SOURCE = `${codeBlock('createDataSourceOptions({ url, poolSize: 20 });')}

Each sets what the variable of the same name sets; those without a variable are for code alone. The database is named by \`url\`, or by
\`host\` and \`database\`: [connect](../how-to/connect.md#in-code).`;

const RELAY = `${codeBlock('new OutboxRelay(dataSource, publishers, { batchSize: 500 });')}

\`npx payment-events-db relay\` has [an option](command-line.md#relay) for each that is a number.`;

const SECRETS = `${codeBlock("new RestaurantPaymentConfigs(dataSource, { keys: await readKeyring('keyring.json'), cacheTtlMs: 5_000 });")}

The [keys](../how-to/keep-processor-secrets.md) are named in code; the command line finds them by one of two variables.`;

const SHARDS = `${codeBlock('new Shards(shardMapFromEnvironment(), { reloadEveryMs: 1_000 });')}

How to [start with shards](../how-to/start-with-shards.md), and to [split one](../how-to/split-a-shard.md).`;

const REPORTS = `For \`npx payment-events-db reporting\`, which also reads the map of databases: [report over all restaurants](../how-to/report-over-all-restaurants.md).`;

const SWEEPER = `${codeBlock('new Sweeper(dataSource, { stuckAfterMs: 300_000, expiryIntervalMs: 0 });')}

\`npx payment-events-db sweep\` has [an option](command-line.md#sweep) for each that is a number.`;

function settingsOf(api: PublicApi, Settings: new () => object): Setting[] {
  const exported = api.find(Settings.name)!;
  const links = new Links(api, '', 'api/');
  const rules = allowedIn(Settings);
  return membersOf(exported, api.checker).properties.map((property) => {
    const { text } = docComment(property, api.checker);
    return {
      name: property.name,
      isOptional: api.isOptional(property),
      unit: unitOf(property.name),
      allowed: rules.get(property.name)!,
      ...inMarkdown(splitDefault(text), links),
    };
  });
}

/** Names have their units. */
function unitOf(name: string): string {
  if (name.endsWith('Ms')) return 'milliseconds';
  return name.endsWith('Bytes') ? 'bytes' : '';
}

/** What a comment says is the default, and the rest of it. */
function splitDefault(text: string): Pick<Setting, 'fallback' | 'meaning'> {
  const [, named] = /(`\w+`) \(default\)/.exec(text) ?? [];
  if (named) return { fallback: named, meaning: text };
  const [said, value, phrase, end] = /Default:?\s+(?:(`[^`]+`|[\d,]*\d)|(.+?))([.,;:](?:\s+|$))/s.exec(text) ?? [];
  const fallback = value ?? phrase ?? '';
  // What is said about the value has to keep it.
  const isAll = said !== undefined && /^[.;]/.test(end!);
  return { fallback, meaning: isAll ? text.replace(said, '').trim() : text };
}

const inMarkdown = ({ fallback, meaning }: Pick<Setting, 'fallback' | 'meaning'>, links: Links) => ({
  fallback: links.inText(fallback),
  meaning: links.inText(meaning),
});

const inTable = (settings: readonly Setting[]): string =>
  table(
    ['setting', 'allowed', 'unit', 'default', 'meaning'],
    settings.map(({ name, isOptional, unit, allowed, fallback, meaning }) => [
      code(name),
      allowed,
      unit,
      isOptional ? fallback || 'none' : 'must be given',
      meaning,
    ]),
  );

/** Those of the DataSource take their meaning from its settings, the two others from what is read. */
function variables(api: PublicApi, settings: readonly Setting[]): string[][] {
  const links = new Links(api, '', 'api/');
  const config = membersOf(api.find('Config')!, api.checker).properties;
  const ofConfig: Record<string, string> = { DATABASE_URL: 'databaseUrl', NODE_ENV: 'nodeEnv' };
  return ENVIRONMENT_VARIABLES.map((variable) => {
    const property = config.find(({ name }) => name === ofConfig[variable]);
    const { fallback, meaning } = property
      ? inMarkdown(splitDefault(docComment(property, api.checker).text), links)
      : (OF_LIBPQ[variable] ?? settings.find(({ name }) => variableOf(name) === variable)!);
    return [code(variable), inWords(refusalOf(variable)), asWritten(fallback), meaning];
  });
}

/** Named as PostgreSQL's own programs name them. */
const OF_LIBPQ: Readonly<Record<string, Pick<Setting, 'fallback' | 'meaning'>>> = {
  PGHOST: { fallback: 'none', meaning: 'The host, where `DATABASE_URL` is not set; needs `PGDATABASE`.' },
  PGPORT: { fallback: '5432', meaning: 'The port at that host, or of a `DATABASE_URL` that has none.' },
  PGDATABASE: { fallback: 'none', meaning: 'The database at that host; needs `PGHOST`.' },
  PGUSER: {
    fallback: 'the user of the operating system',
    meaning: 'Who logs in, there or by a `DATABASE_URL` that names nobody.',
  },
  PGPASSWORD: { fallback: 'none', meaning: 'The password, there or of a `DATABASE_URL` that has none.' },
  PGSSLMODE: {
    fallback: '`verify-full` in production to another machine, else `disable`',
    meaning: 'Whether to encrypt, where `DATABASE_URL` does not say it. All that check mean `verify-full`.',
  },
  PGSSLROOTCERT: {
    fallback: 'the authorities that Node.js knows',
    meaning: 'The file of the authority that may have signed the certificate of the server.',
  },
  PGSSLCERT: { fallback: 'none', meaning: 'The file of a certificate to log in with.' },
  PGSSLKEY: { fallback: 'none', meaning: 'The file of its key.' },
};

/** As it is put into a variable. */
const asWritten = (fallback: string) =>
  fallback.includes('DEFAULT_DATABASE_URL')
    ? code(DEFAULT_DATABASE_URL)
    : fallback.replace(/^[\d,]+$/, (digits) => code(digits.replaceAll(',', '')));

/** `PAYMENT_EVENTS_DB_POOL_SIZE` of `poolSize`. */
const variableOf = (setting: string) =>
  `PAYMENT_EVENTS_DB_${setting.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

/** What `readConfig` says that a variable must be; nothing, where it takes any text. */
function refusalOf(variable: string): string {
  try {
    readConfig({ NODE_ENV: 'test', [variable]: '\0' });
    return '';
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    const [, said = ''] = new RegExp(`^${variable} must (.*)\\.$`).exec(error.message) ?? [];
    return said;
  }
}
