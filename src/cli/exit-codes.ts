/** How our commands end, for the scripts that call them. */
export const ExitCode = {
  ok: 0,
  /** Anything not named below, such as a migration that failed; also a verification that found differences. */
  failed: 1,
  /** A wrong option or a wrong environment variable. */
  usage: 2,
  /** No server, no database, or no login. */
  unreachable: 3,
  /** Nothing was changed: a person has to decide first. */
  refused: 4,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** For the end of `--help`. */
export const exitCodesHelp = `
Exit codes: 0 done, 1 failed or differences found, 2 wrong option or variable, 3 no server or no login, 4 refused (nothing was changed).`;
