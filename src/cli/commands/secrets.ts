import { existsSync } from 'node:fs';
import { Command } from 'commander';
import pc from 'picocolors';
import { readKeys } from '../keys-from-environment';
import { activateKey, addKey, newKeyring } from '../../configs/keyring-file';
import { rotateDataKeys } from '../../configs/rotate-data-keys';
import { sealPlainSecrets } from '../../configs/seal-plain-secrets';
import { secretsStatus } from '../../configs/secrets-status';
import { readConfig } from '../../config';
import { disarm } from '../../database/disarm';
import { ExitCode } from '../exit-codes';
import { printTable } from '../print-table';
import { overShards } from '../shards/over-shards';
import { toJson } from '../to-json';
import { wholeNumber } from '../whole-number';
import { withDataSource } from '../with-data-source';
import { withProgress } from '../with-progress';

/** `payment-events-db secrets …`. */
export function secretsCommand(): Command {
  return new Command('secrets')
    .description('Looks after the secrets of restaurants’ configurations and the keys that they are sealed under.')
    .addCommand(statusCommand(), { isDefault: true })
    .addCommand(sealCommand())
    .addCommand(rotateCommand())
    .addCommand(addKeyCommand())
    .addCommand(activateKeyCommand());
}

interface Options {
  json?: boolean;
}

function statusCommand(): Command {
  const command = new Command('status')
    .description('Counts what is sealed, and what is left to seal. Exit code 1 where something is. Needs no keys.')
    .option('--json', 'print JSON');
  return overShards(command, ({ json }: Options) =>
    withDataSource(readConfig(), async (dataSource) => {
      const status = await secretsStatus(dataSource);
      if (status.plain + status.nested > 0) process.exitCode = ExitCode.failed;
      if (json) return console.log(toJson(status));
      console.log(`Sealed             ${versions(status.sealed)}`);
      const left = `In plain text      ${versions(status.plain)}`;
      console.log(status.plain > 0 ? pc.yellow(`${left}: npx payment-events-db secrets seal`) : left);
      if (status.nested > 0) {
        const deeper = `Elsewhere          ${versions(status.nested)}`;
        console.log(
          pc.yellow(`${deeper} with secrets that cannot be sealed: activate new ones, with new keys of the processor.`),
        );
      }
      if (status.dataKeys.length === 0) return;
      console.log('');
      printTable(
        ['key', 'data keys'],
        status.dataKeys.map(({ keyId, dataKeys }) => [keyId, dataKeys]),
      );
    }),
  );
}

const versions = (count: number) => (count === 1 ? '1 version' : `${count} versions`);

interface BatchOptions extends Options {
  batchSize: number;
}

function sealCommand(): Command {
  const command = new Command('seal')
    .description(
      'Seals the secrets that stand in plain text in versions of before there were seals. Online, in batches; ended at any time, it ' +
        'goes on when it is run again.',
    )
    .option('--batch-size <n>', 'versions a transaction', wholeNumber, 100)
    .option('--json', 'print JSON');
  return overShards(command, async ({ batchSize, json }: BatchOptions) => {
    const keys = await readKeys();
    await withDataSource(readConfig(), async (dataSource) => {
      let soFar = 0;
      const onProgress = (sealed: number) => void (soFar = sealed);
      const { sealed, left } = await withProgress(
        () => `${versions(soFar)} sealed`,
        () => sealPlainSecrets(dataSource, keys, { batchSize, onProgress }),
      );
      const { plain } = await secretsStatus(dataSource);
      if (plain > 0) process.exitCode = ExitCode.failed;
      if (json) return console.log(toJson({ sealed, plain, left }));
      console.log(`${versions(sealed)} sealed; ${versions(plain)} left in plain text.`);
      for (const { restaurantId, configVersion } of left) {
        console.log(
          pc.yellow(
            `${disarm(configVersion)} of restaurant ${restaurantId} has a number that no seal can be bound to.`,
          ),
        );
      }
      if (sealed > 0) console.log(AFTER_SEALING);
    });
  });
}

/** What sealing cannot undo. */
const AFTER_SEALING = `
The plain text is not gone everywhere yet. It stays
- in dead rows of the table's file, until it is written again: VACUUM (FULL) restaurant_payment_configs
- in the write-ahead log, until its segments are recycled, and in archives and standbys of it
- in every backup that was made before.
Have the processors issue new keys, and activate them: npx payment-events-db configs activate`;

function rotateCommand(): Command {
  const command = new Command('rotate')
    .description(
      'Wraps every data key under the key that is active now in the keyring or the KMS. Versions stay as they are. Online; ended ' +
        'at any time, it goes on when it is run again. Keep the key before until it has ended and every process knows the new one.',
    )
    .option('--batch-size <n>', 'data keys that are read at a time', wholeNumber, 100)
    .option('--json', 'print JSON');
  return overShards(command, async ({ batchSize, json }: BatchOptions) => {
    const keys = await readKeys();
    await withDataSource(readConfig(), async (dataSource) => {
      let soFar = 0;
      const rotated = await withProgress(
        () => `${soFar} data keys`,
        () => rotateDataKeys(dataSource, keys, { batchSize, onProgress: ({ seen }) => void (soFar = seen) }),
      );
      if (json) return console.log(toJson(rotated));
      console.log(`${rotated.seen} data keys, of which ${rotated.rewrapped} were wrapped under another key.`);
    });
  });
}

interface KeyringOptions extends Options {
  keyring: string;
}

const onKeyring = (name: string, description: string) =>
  new Command(name)
    .description(`${description} No database is asked.`)
    .argument('<key>', 'what the key is called, such as the month')
    .requiredOption('--keyring <file>', 'the keyring')
    .option('--json', 'print JSON');

function addKeyCommand(): Command {
  return onKeyring(
    'add-key',
    'Adds a new key to a keyring, which wraps nothing yet; makes the keyring, with that key as the active one, where there is none.',
  ).action(async (key: string, { keyring, json }: KeyringOptions) => {
    const isNew = !existsSync(keyring);
    await (isNew ? newKeyring : addKey)(keyring, key);
    if (json) return console.log(toJson({ added: key, isActive: isNew }));
    console.log(
      isNew
        ? `The keyring ${keyring} has the key ${key}. Keep a copy where no copy of the database is: without it no secret opens.`
        : `The keyring ${keyring} has the key ${key} now. Give it to every process, then: npx payment-events-db secrets activate-key`,
    );
  });
}

function activateKeyCommand(): Command {
  return onKeyring(
    'activate-key',
    'Has a key of a keyring wrap from now on. First give the keyring that has it to every process.',
  ).action(async (key: string, { keyring, json }: KeyringOptions) => {
    await activateKey(keyring, key);
    if (json) return console.log(toJson({ active: key }));
    console.log(
      `Key ${key} is the active one of ${keyring}. Wrap the data keys under it: npx payment-events-db secrets rotate`,
    );
  });
}
