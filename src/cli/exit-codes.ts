/** How our commands end, for the scripts that call them. */
export const ExitCode = {
  ok: 0,
  /** Anything not named below, such as a migration that failed; also a comparison that found differences. */
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

/** For the end of `--help`. */
export const exitCodesHelp = `
Exit codes: 0 done, 1 failed or differences found, 2 migrations pending, 3 no server, none that can be written, or no login, 4 refused (nothing was changed), 64 wrong option or variable.`;
