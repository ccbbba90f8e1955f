import { Query } from 'pg';
import { type QueryRunner } from 'typeorm';

/** What of `pg`'s connection its types do not have. */
interface CopyingConnection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/** Statements with a COPY FROM STDIN among them. */
class CopyIn extends Query {
  constructor(
    text: string,
    private readonly data: string,
    callback: (error: Error | null | undefined) => void,
  ) {
    super(text, callback);
  }

  /** Called by `pg`. */
  handleCopyInResponse(connection: CopyingConnection): void {
    connection.sendCopyFromChunk(Buffer.from(this.data));
    connection.endCopyFrom();
  }
}

const TABLE = 'pg_temp.payment_events_db_unlogged';

/** Of a line of COPY that it was interrupted in PostgreSQL quotes 100 bytes. */
const QUOTED_BYTES = 100;

/**
 * Gives a session a setting of ours that holds a password, for a statement that takes no values. It is there until
 * {@link resetUnlogged}.
 *
 * A server that logs statements logs their parameters as well, and its owner alone may switch that off. It never logs the rows of
 * a COPY, nor does TypeORM. All is one simple query, and so one transaction. For who may make temporary tables.
 *
 * @param setting a constant of ours, as `payment_events_db.name`
 */
export async function setUnlogged(queryRunner: QueryRunner, setting: string, value: string): Promise<void> {
  const client = (await queryRunner.connect()) as { query(copy: CopyIn): void };
  const text = `CREATE TEMPORARY TABLE ${TABLE} (line text);
    COPY ${TABLE} FROM STDIN;
    DO $$ BEGIN
      PERFORM set_config('${setting}', convert_from(decode(substr(line, ${QUOTED_BYTES + 1}), 'hex'), 'UTF8'), false) FROM ${TABLE};
    END $$;
    DROP TABLE ${TABLE}`;
  const line = `${'0'.repeat(QUOTED_BYTES)}${Buffer.from(value).toString('hex')}\n`;
  await new Promise<void>((resolve, reject) => {
    client.query(new CopyIn(text, line, (error) => (error ? reject(error) : resolve())));
  });
}

/** Takes it away. Where the connection itself is gone there is nothing to reset. */
export async function resetUnlogged(queryRunner: QueryRunner, setting: string): Promise<void> {
  await queryRunner.query(`RESET ${setting}`).catch(() => undefined);
}

/**
 * Of a transaction, in PL/pgSQL: the statements that it builds are in the log of no extension, and in no warning's context, as far
 * as the session may say so. A superuser may, or who was granted SET ON PARAMETER. pgaudit still says that they were run.
 */
export const UNLOGGED_AS_FAR_AS_ALLOWED = Object.entries({
  log_min_messages: 'error',
  'pgaudit.log_statement': 'off',
  'pg_stat_statements.track': 'none',
})
  .map(
    ([setting, value]) =>
      `BEGIN PERFORM set_config('${setting}', '${value}', true); EXCEPTION WHEN insufficient_privilege THEN NULL; END;`,
  )
  .join('\n');
