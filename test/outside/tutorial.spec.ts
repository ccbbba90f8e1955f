import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Checkout } from '../support/processes/checkout';
import { commandsIn, DEVELOPMENT, DocPage } from '../support/docs/doc-page';
import { InstalledPackage } from '../support/docs/installed-package';
import { packedPackage } from '../support/processes/packed-package';
import { useTestDatabase } from '../support/database/use-test-database';

jest.setTimeout(300_000);

const PAGE = new DocPage('docs/tutorial/first-payment.md');
/** Tested with the tarball in place of a registry. */
const INSTALL = 'npm install payment-events-db typeorm pg reflect-metadata';
const [ADDRESS] = /^export DATABASE_URL=.*$/m.exec(PAGE.text)!;
const WRITTEN = new URL(ADDRESS.split('=')[1]!);

interface Step {
  /** The program to save, or the shell commands or the SQL to run. */
  language: 'js' | 'bash' | 'sql';
  code: string;
  /** What the page says is printed. */
  printed: string | undefined;
}

/** A block of `text` is what the block before it prints. */
const STEPS = PAGE.blocks.reduce<Step[]>((steps, { language, code }) => {
  if (language === 'text') steps.at(-1)!.printed = code;
  else steps.push({ language: language as Step['language'], code, printed: undefined });
  return steps;
}, []);

/** Spaces at the ends of lines, which psql pads with and no page has, and empty lines at the end do not count. */
const trimmed = (text: string) => text.replace(/[ \t]+$/gm, '').trimEnd();

test('every program of the tutorial is named, and everything that is printed is compared', () => {
  expect([...new Set(STEPS.map(({ language }) => language))].toSorted()).toEqual(['bash', 'js', 'sql']);
  for (const { language, code, printed } of STEPS) {
    if (language === 'js') expect(code).toMatch(/^\/\/ \w+\.mjs\n/);
    if (language === 'sql') expect(printed).toBeDefined();
  }
  expect(STEPS.filter(({ printed }) => printed !== undefined).length).toBeGreaterThan(10);
});

test('its container is the database that its programs look for', () => {
  const [docker] = /`docker run [^`]*`/.exec(PAGE.text)!;
  expect(docker).toContain(`POSTGRES_PASSWORD=${WRITTEN.password}`);
  expect(docker).toContain(`--publish 127.0.0.1:${WRITTEN.port}:5432 postgres:18`);
  const [, name] = /--name (\S+)/.exec(docker)!;
  expect(PAGE.text).toContain(`docker rm --force --volumes ${name!}`);
});

describe.each(['a project that has installed the package', 'a clone of the repository'])('in %s', (where) => {
  const server = useTestDatabase({ empty: true });
  let checkout: Checkout;
  let installed: InstalledPackage | undefined;
  let folder: string;

  beforeAll(async () => {
    checkout = await Checkout.create();
    if (where.includes('clone')) {
      await checkout.takeBuild(await packedPackage());
      const [build, ...rest] = DEVELOPMENT.blocksOf('Follow the tutorial in a clone', 'bash').flatMap(commandsIn);
      expect(build).toBe('npm run build');
      for (const command of rest) {
        expect({ command, ...(await checkout.run(command)) }).toMatchObject({ command, exitCode: 0 });
      }
      folder = join(checkout.folder, 'first-payment');
    } else {
      installed = await InstalledPackage.create(await packedPackage());
      folder = installed.folder;
    }
  });
  afterAll(async () => {
    await installed?.remove();
    await checkout.remove();
  });

  /** The page's database is one of the test server's, dropped with the others of this run whatever happens. */
  const name = () => `${server.name}_tutorial`;
  const address = () => Object.assign(new URL(server.url), { pathname: `/${name()}` });

  async function run(command: string): Promise<string> {
    const here = command.replaceAll('first_payment', name());
    const { exitCode, output } = await checkout.run(`exec 2>&1; ${here}`, {
      cwd: folder,
      env: { DATABASE_URL: address().href, NO_COLOR: '1' },
    });
    expect({ command, exitCode, output }).toMatchObject({ exitCode: 0 });
    return output.replaceAll(name(), 'first_payment').replaceAll(address().host, WRITTEN.host);
  }

  test('each step works, and prints what the page says', async () => {
    for (const { language, code, printed } of STEPS) {
      let output = '';
      if (language === 'js') {
        await writeFile(join(folder, /^\/\/ (\S+)/.exec(code)![1]!), code);
      } else if (language === 'sql') {
        output = await run(`psql --no-psqlrc "$DATABASE_URL" <<'SQL'\n${code}SQL`);
      } else {
        const commands = commandsIn(code).filter((line) => line !== INSTALL && line !== ADDRESS);
        for (const command of commands.filter((line) => installed ?? line !== 'npm init --yes')) {
          output += await run(command);
        }
      }
      if (printed !== undefined) expect(trimmed(output)).toBe(trimmed(printed));
    }
  });
});
