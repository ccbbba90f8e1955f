import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** A file for a project, and the names of those that stand for it: where one of them is there, it is not written. */
export interface ProjectFile {
  readonly name: string;
  readonly text: string;
  readonly insteadOf: readonly string[];
}

/** What a project is made of, as far as its files differ by it. */
interface Project {
  readonly isTypeScript: boolean;
  /** Whether its `.js` files are ES modules. */
  readonly isModule: boolean;
}

/** The files that a project needs to use this package, in the form of the project. */
export function projectFiles(folder: string): ProjectFile[] {
  const project = projectIn(folder);
  const extension = project.isTypeScript ? 'ts' : 'js';
  const forms = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs', 'json'];
  return [
    { name: `ormconfig.${extension}`, text: ormconfig(project), insteadOf: forms.map((form) => `ormconfig.${form}`) },
    {
      name: 'compose.yaml',
      text: compose(),
      insteadOf: ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'],
    },
  ];
}

/** How TypeORM's command is run on a file of {@link projectFiles}. */
export function typeormCommand(name: string): string {
  const command = `npx typeorm migration:run -d ${name}`;
  return name.endsWith('.ts') ? `NODE_OPTIONS='--import tsx' ${command}` : command;
}

function projectIn(folder: string): Project {
  const manifest = nearest(folder, 'package.json');
  let type: unknown;
  try {
    ({ type } = JSON.parse(readFileSync(manifest ?? '', 'utf8')) as { type?: unknown });
  } catch {
    // None, or one that is being written: CommonJS, as for Node.
  }
  return { isTypeScript: nearest(folder, 'tsconfig.json') !== undefined, isModule: type === 'module' };
}

/** In the folder, or in the nearest one above it up to the root of a package. */
function nearest(folder: string, name: string): string | undefined {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (existsSync(join(at, name))) return join(at, name);
    if (existsSync(join(at, 'package.json')) || dirname(at) === at) return undefined;
  }
}

function ormconfig({ isTypeScript, isModule }: Project): string {
  const names = 'createDataSourceOptions, PaymentEventsDataSource, readConfig';
  const isImport = isTypeScript || isModule;
  const from = "'payment-events-db'";
  return `${isImport ? `import { ${names} } from ${from}` : `const { ${names} } = require(${from})`};

// For the typeorm command, which migrates the database of DATABASE_URL with it:
//   ${typeormCommand(`ormconfig.${isTypeScript ? 'ts' : 'js'}`)}
${isImport ? 'export default' : 'module.exports ='} new PaymentEventsDataSource(
  createDataSourceOptions({ applicationName: 'payment-events-db migrations', ...readConfig().dataSource }),
);
`;
}

/** That of this package's own repository, without the names that are its own: a project's come from its folder. */
function compose(): string {
  const root = dirname(nearest(__dirname, 'package.json')!);
  const text = readFileSync(join(root, 'infrastructure', 'docker', 'docker-compose.yml'), 'utf8');
  return text.replace(/^name:.*\n/m, '').replace(/^ +container_name:.*\n/m, '');
}
