/** How our commands end, for the scripts that call them. */
export const ExitCode = {
  ok: 0,
  /** Anything not named below, such as a migration that failed; also a comparison that found differences, a search that found what should not be. */
  failed: 1,
  /** Migrations are pending, and nothing else is wrong: what `status` tells a deployment. */
  pending: 2,
  /** No server, none that can be written, no database, or no login. */
  unreachable: 3,
  /** Nothing was changed: a person has to decide first. */
  refused: 4,
  /** A wrong option or a wrong environment variable: EX_USAGE of sysexits.h. */
  usage: 64,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** What each says, for `--help` and the reference. */
export const EXIT_CODES: Readonly<Record<ExitCode, string>> = {
  [ExitCode.ok]: 'done',
  [ExitCode.failed]: 'failed, or differences, requests or holds found',
  [ExitCode.pending]: 'migrations pending',
  [ExitCode.unreachable]: 'no server, none that can be written, or no login',
  [ExitCode.refused]: 'refused (nothing was changed)',
  [ExitCode.usage]: 'wrong option or variable',
};

/** For the end of `--help`. */
export const exitCodesHelp = `
Exit codes: ${Object.entries(EXIT_CODES)
  .map(([exitCode, meaning]) => `${exitCode} ${meaning}`)
  .join(', ')}.`;
