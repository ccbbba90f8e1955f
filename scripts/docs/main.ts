import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Argument, Command } from 'commander';
import { runCommand } from '../../src/cli/run-command';
import { apiReference } from './api/api-reference';
import { PublicApi } from './api/public-api';
import { commandLineReference } from './command-line';
import { privilegesReference } from './privileges';
import { settingsReference } from './settings';

let loaded: PublicApi | undefined;
/** It takes seconds. */
const publicApi = () => (loaded ??= new PublicApi());

const PARTS = {
  api: () => apiReference(publicApi()),
  cli: () => commandLineReference(),
  settings: () => settingsReference(publicApi()),
  privileges: () => privilegesReference(),
};
type Part = keyof typeof PARTS;

void runCommand(
  new Command('docs:reference')
    .description('Writes the pages of the reference that are made from the code.')
    .addArgument(new Argument('[parts...]', 'which of them').choices(Object.keys(PARTS)).default(Object.keys(PARTS)))
    .option('--to <folder>', 'where to', join(__dirname, '../../docs/reference'))
    .action(async (parts: Part[], { to }: { to: string }) => {
      // A page whose exports are gone goes too.
      if (parts.includes('api')) rmSync(join(to, 'api'), { recursive: true, force: true });
      for (const part of parts) {
        for (const [path, text] of await PARTS[part]()) {
          mkdirSync(dirname(join(to, path)), { recursive: true });
          writeFileSync(join(to, path), text);
        }
      }
    }),
);
