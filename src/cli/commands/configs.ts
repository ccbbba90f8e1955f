import { text as readAll } from 'node:stream/consumers';
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { type ActivatedConfig } from '../../configs/activate';
import { readKeys } from '../keys-from-environment';
import { readAnySecretFields, readStored } from '../../configs/read-config';
import { RestaurantPaymentConfigs } from '../../configs/restaurant-payment-configs';
import { history } from '../../configs/history';
import { deactivate } from '../../configs/deactivate';
import { withoutSecrets } from '../../configs/stored-config';
import { readConfig } from '../../config';
import { sessionOf } from '../../database/session';
import { ConfigurationError } from '../../errors';
import { disarm } from '../../database/disarm';
import { ExitCode } from '../exit-codes';
import { printTable } from '../print-table';
import { toJson } from '../to-json';
import { useDatabaseOf, WHERE_ITS_RESTAURANT_IS } from '../shards/use-database-of';
import { uuidArgument } from '../uuid-argument';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';

/** `payment-events-db configs …`. */
export function configsCommand(): Command {
  return new Command('configs')
    .description('Shows and changes how restaurants’ payments are processed. No secret is ever printed.')
    .addCommand(showCommand())
    .addCommand(historyCommand())
    .addCommand(activateCommand())
    .addCommand(rollbackCommand())
    .addCommand(deactivateCommand());
}

const aboutRestaurant = (name: string, description: string) =>
  new Command(name)
    .description(`${description} ${WHERE_ITS_RESTAURANT_IS}`)
    .argument('<restaurant>', 'the restaurant', uuidArgument('A restaurant'))
    .option('--json', 'print JSON')
    .hook('preAction', (command) => useDatabaseOf(command.processedArgs[0] as string));

interface Options {
  json?: boolean;
}

interface ShowOptions extends Options {
  configVersion?: string;
}

function showCommand(): Command {
  return aboutRestaurant(
    'show',
    'Shows the active configuration: its settings, and the names of its secrets. Needs no keys.',
  )
    .option('--config-version <version>', 'another version')
    .action((restaurant: string, { configVersion, json }: ShowOptions) =>
      withDataSource(readConfig(), async (dataSource) => {
        const session = sessionOf(dataSource);
        const stored = await readStored(session, restaurant, configVersion);
        if (!stored) {
          process.exitCode = ExitCode.failed;
          return console.log(json ? 'null' : configVersion ? 'There is no such version.' : 'None is active.');
        }
        const { settings, plain } = withoutSecrets(stored);
        const shown = {
          restaurantId: stored.restaurant_id,
          configVersion: stored.config_version,
          processorName: stored.processor_name,
          isActive: stored.is_active,
          activatedAt: stored.created_at,
          settings: hidden(settings, await readAnySecretFields(session, stored.processor_name)),
          sealedSecrets: stored.sealed_fields ?? [],
          plainSecrets: Object.keys(plain).sort(),
        };
        if (json) return console.log(toJson(shown));
        console.log(`Version    ${disarm(shown.configVersion)}${shown.isActive ? ', active' : ', switched off'}`);
        console.log(`Processor  ${disarm(shown.processorName)}`);
        console.log(`Written    ${shown.activatedAt.toISOString()}`);
        console.log(`Secrets    ${inWords(shown)}`);
        console.log(disarm(JSON.stringify(shown.settings, null, 2)));
      }),
    );
}

/** Legacy services have written secrets at any depth. */
function hidden(value: unknown, secrets: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((part) => hidden(part, secrets));
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value);
  return Object.fromEntries(
    fields.map(([name, part]) => [name, secrets.includes(name) ? '[secret]' : hidden(part, secrets)]),
  );
}

const inWords = ({ sealedSecrets, plainSecrets }: { sealedSecrets: string[]; plainSecrets: string[] }) =>
  [
    ...sealedSecrets.map((name) => `${disarm(name)} (sealed)`),
    ...plainSecrets.map((name) => `${disarm(name)} (in plain text: npx payment-events-db secrets seal)`),
  ].join(', ') || 'none';

interface HistoryOptions extends Options {
  limit: number;
}

function historyCommand(): Command {
  return aboutRestaurant(
    'history',
    'Lists every version, newest first: who made it active, when, and which fields it has.',
  )
    .option('--limit <n>', 'list at most this many', wholeNumber, 100)
    .action((restaurant: string, { limit, json }: HistoryOptions) =>
      withDataSource(readConfig(), async (dataSource) => {
        const records = await history(sessionOf(dataSource), restaurant, { limit });
        if (json) return records.forEach((record) => console.log(toJson(record)));
        if (records.length === 0) return console.log('There is no version.');
        printTable(
          ['version', 'processor', 'active from', 'by', 'until', 'by', 'copy of', 'changed', 'secrets'],
          records.map((record) => [
            ...[record.configVersion, record.processorName, record.activatedAt, record.activatedBy],
            ...[record.switchedOffAt, record.switchedOffBy, record.copyOf],
            ...[record.changedSettings.join(' ') || null, record.secrets.join(' ') || null],
          ]),
        );
      }),
    );
}

interface ChangeOptions extends Options {
  by: string;
  expectedVersion?: string;
}

const change = (name: string, description: string) =>
  aboutRestaurant(name, description)
    .requiredOption('--by <name>', 'who decided it')
    .option('--expected-version <version>', 'only where this version is the active one');

interface ActivateOptions extends ChangeOptions {
  processor: string;
  fromFile: string;
}

/** What is read from standard input. What is in it, the operation looks at. */
const content = z.strictObject({
  settings: z.record(z.string(), z.unknown()).default({}),
  secrets: z.record(z.string(), z.string()).default({}),
});

function activateCommand(): Command {
  return change(
    'activate',
    'Writes a new version and makes it the active one. Settings and secrets come by standard input, as JSON: ' +
      '{"settings": {…}, "secrets": {…}}. Seals with the keys of PAYMENT_EVENTS_DB_KEYRING or PAYMENT_EVENTS_DB_KMS_KEY_ID.',
  )
    .requiredOption('--processor <name>', 'the processor: a row of the table processors')
    .requiredOption(
      '--from-file <->',
      '-: standard input alone, so that no secret lies in a file or a list of processes',
      stdin,
    )
    .action(async (restaurant: string, options: ActivateOptions) => {
      const given = parse(await readAll(process.stdin));
      await withConfigs(async (configs) =>
        say(
          await configs.activate(
            restaurant,
            { processorName: options.processor, ...given },
            { by: options.by, expectedVersion: options.expectedVersion },
          ),
          options,
        ),
      );
    });
}

function stdin(value: string): string {
  if (value === '-') return value;
  throw new InvalidArgumentError('Secrets come by standard input alone: say -, and < file or a pipe behind it.');
}

/** What JSON and zod would say of it quotes what it says. */
function parse(text: string): z.infer<typeof content> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ConfigurationError('Standard input must be JSON: {"settings": {…}, "secrets": {…}}.');
  }
  const read = content.safeParse(json);
  if (read.success) return read.data;
  throw new ConfigurationError(
    'Standard input must be {"settings": {…}, "secrets": {…}}, the secrets texts, and nothing else.',
  );
}

interface RollbackOptions extends ChangeOptions {
  to: string;
}

function rollbackCommand(): Command {
  return change(
    'rollback',
    'Makes active what an earlier version says, as a new version, once it has opened its secrets.',
  )
    .requiredOption('--to <version>', 'the earlier version')
    .action((restaurant: string, { to, ...options }: RollbackOptions) =>
      withConfigs(async (configs) =>
        say(
          await configs.rollback(restaurant, to, { by: options.by, expectedVersion: options.expectedVersion }),
          options,
        ),
      ),
    );
}

function deactivateCommand(): Command {
  return change('deactivate', 'Leaves a restaurant without an active configuration. Needs no keys.').action(
    (restaurant: string, { by, expectedVersion, json }: ChangeOptions) =>
      withDataSource(readConfig(), async (dataSource) => {
        const { configVersion } = await deactivate(sessionOf(dataSource), restaurant, { by, expectedVersion });
        if (json) return console.log(toJson({ configVersion }));
        console.log(configVersion === null ? 'None was active.' : `Version ${disarm(configVersion)} is switched off.`);
      }),
  );
}

async function withConfigs(work: (configs: RestaurantPaymentConfigs) => Promise<void>): Promise<void> {
  const keys = await readKeys();
  await withDataSource(readConfig(), (dataSource) => work(new RestaurantPaymentConfigs(dataSource, { keys })));
}

function say(activated: ActivatedConfig, { json }: Options): void {
  if (json) return console.log(toJson(activated));
  const { configVersion, replaced } = activated;
  console.log(
    `Version ${configVersion} is active${replaced === null ? '' : `, and ${disarm(replaced)} switched off`}.`,
  );
}
