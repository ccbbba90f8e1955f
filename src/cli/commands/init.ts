import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { projectFiles, typeormCommand } from '../init/project-files';
import { writeNewFile } from '../init/write-new-file';

interface Options {
  dryRun?: boolean;
  json?: boolean;
}

/** `payment-events-db init`. */
export function initCommand(): Command {
  return new Command('init')
    .description(
      'Writes into a project what it needs to use this package: a file for the typeorm command, in TypeScript where there ' +
        'is a tsconfig.json, and compose.yaml, a PostgreSQL for development. What is there already, also under another of ' +
        'the usual names, is left alone.',
    )
    .argument('[folder]', 'the project', '.')
    .option('--dry-run', 'write nothing, and print what would be done')
    .option('--json', 'print JSON')
    .action(async (folder: string, { dryRun, json }: Options) => {
      const written: string[] = [];
      const leftAlone: string[] = [];
      const files = projectFiles(folder);
      for (const { name, text, insteadOf } of files) {
        const there = insteadOf.find((other) => existsSync(join(folder, other)));
        // Between the look and this, another may have made one: it is left alone as well.
        if (there === undefined && (dryRun || (await writeNewFile(join(folder, name), text)))) written.push(name);
        else leftAlone.push(there ?? name);
      }
      if (json) return console.log(JSON.stringify({ written, leftAlone }));
      for (const name of written) console.log(`${dryRun ? 'Would write' : 'Wrote'} ${name}.`);
      for (const name of leftAlone) console.log(`Left alone: ${name} is there already.`);
      console.log(`\nNext: npx payment-events-db dev, or docker compose up --detach --wait; then one of:`);
      console.log(`  npx payment-events-db migrate\n  ${typeormCommand(files[0]!.name)}`);
    });
}
