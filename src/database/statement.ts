import { createHash } from 'node:crypto';

/** One SQL statement as it is sent: values travel beside it as `$1`, `$2` …. */
export interface Statement {
  /** Under which it is prepared once a connection: at most 63 bytes, unlike any other text's. Without, each time. */
  readonly name?: string;
  readonly text: string;
  /** Longest wait for the answer, where that of the DataSource is longer. In milliseconds. */
  readonly answerWithinMs?: number;
}

/**
 * A named statement. The name ends in a digest of the text: two versions of this package that share a pooler's server
 * connection never run each other's statement.
 */
export function statement(name: string, text: string): Statement {
  return { name: `${name}_${createHash('sha256').update(text).digest('hex').slice(0, 12)}`, text };
}
