import { spawnSync } from 'node:child_process';

/** Whether a Docker engine answers, and its command line is there. */
export const hasDocker = (): boolean => spawnSync('docker', ['info'], { timeout: 5_000 }).status === 0;

/** Tests that need Docker: skipped with a note where there is none, in CI too, for nothing else needs it. */
export function describeDocker(what: string): jest.Describe {
  if (hasDocker()) return describe;
  process.stderr.write(
    `Skips what needs Docker: ${what}. Start an engine, and set DOCKER_HOST where it is not the default.\n`,
  );
  return describe.skip;
}
