import { AbstractLogger, type LogLevel, type LogMessage } from 'typeorm';

/**
 * Logs what TypeORM says without any value: parameters hold payment tokens and idempotency keys, and the server's text
 * of an error may quote them. The text of a statement is safe, since values travel as parameters. Failed and slow
 * statements and warnings go to standard error, what a migration does to standard output; other statements nowhere.
 */
export class RedactingLogger extends AbstractLogger {
  readonly #output: Pick<Console, 'log' | 'warn' | 'error'>;

  /** @param output where it writes, such as a Logger of NestJS. Default: the console */
  constructor(output: Pick<Console, 'log' | 'warn' | 'error'> = console) {
    super(['schema', 'error', 'warn', 'migration']);
    this.#output = output;
  }

  /** The SQLSTATE, the constraint and the text of the statement. */
  override logQueryError(error: string | Error, query: string): void {
    const { code, constraint } = error as { code?: string; constraint?: string };
    this.#output.error(`query failed (${[code ?? 'no SQLSTATE', constraint].filter(Boolean).join(', ')}): ${query}`);
  }

  /** TypeORM says only here which migration failed; what it adds of the server's text may quote a value. */
  override logMigration(message: string): void {
    this.#output.error(message.replace(/, error: .*$/s, ''));
  }

  protected writeLog(level: LogLevel, messages: LogMessage | LogMessage[]): void {
    const options = { appendParameterAsComment: false, highlightSql: false };
    for (const { prefix, message } of this.prepareLogMessages(messages, options)) {
      this.#output[level === 'error' || level === 'warn' ? level : 'log'](
        prefix ? `${prefix} ${message}` : `${message}`,
      );
    }
  }
}
