import { type DataSource, type EntityManager } from 'typeorm';
import { DatabaseUnavailableError, OutcomeUnknownError } from '../errors';
import { queryRunnerOf } from './connections';
import { type Encoded, type ManyOperation, type Operation } from './operation';
import { execute } from './execute';
import { type Statement } from './statement';
import { transaction } from './transaction';

/** What a statement came to: as much of the driver's result as is used, so that its types are nobody else's concern. */
interface Result {
  readonly rows: unknown[];
  readonly rowCount: number | null;
}

/** Runs one statement somewhere. */
type Execute = (statement: Statement, values: Encoded) => Promise<Result>;

/**
 * Where operations run: in one transaction, the caller's or one of their own, or each by itself on a connection of the
 * pool. Errors come translated.
 */
export class Session {
  readonly #execute: Execute;
  readonly #opensOwn: boolean;
  readonly #last: [Statement, unknown[]][] = [];
  /** The transaction is the caller's: what aborts it cannot be repeated here. */
  readonly isCallers: boolean;

  constructor(
    execute: Execute,
    readonly dataSource: DataSource,
    /** Whose transaction it is. None: each operation is one by itself. */
    transactionOf: 'caller' | 'package' | 'none',
  ) {
    this.#execute = execute;
    this.isCallers = transactionOf === 'caller';
    this.#opensOwn = transactionOf === 'none';
  }

  /** Runs an operation and gives its rows. */
  async rows<Input, Row>({ one, valuesOf }: Operation<Input, Row>, input: NoInfer<Input>): Promise<Row[]> {
    const { rows } = await this.#execute(one, valuesOf(input));
    return rows as Row[];
  }

  /** Runs a text that is not prepared, for what runs seldom: see `sql`. Gives its rows. */
  async query(text: string, values: unknown[] = []): Promise<unknown> {
    return (await this.#execute({ text }, values)).rows;
  }

  /** Runs an operation that has at most one row, and gives it. */
  async row<Input, Row>(operation: Operation<Input, Row>, input: NoInfer<Input>): Promise<Row | undefined> {
    return (await this.rows(operation, input))[0];
  }

  /**
   * Runs an operation that locks a request's row and reads what belongs to it, and gives its row.
   *
   * Under READ COMMITTED a statement that has waited for a row sees that row as it is by then, and everything else as it
   * was when the statement began. Such an operation therefore says (`is_outdated`) where the row has changed since, and has
   * written nothing. It is run again in the transaction that holds the lock now: from there on nobody changes the row, and
   * what has been committed is seen.
   */
  async newest<Input, Row extends object>(
    operation: Operation<Input, Row>,
    input: NoInfer<Input>,
  ): Promise<Row | undefined> {
    const row = await this.row(operation, input);
    if (!row || !('is_outdated' in row && row.is_outdated)) return row;
    if (!this.#opensOwn) return await this.row(operation, input);
    return await transaction(this.dataSource, {}, (own) => own.newest(operation, input)).catch((error: unknown) => {
      // What may be repeated by itself may be repeated in a transaction of its own.
      throw error instanceof OutcomeUnknownError ? new DatabaseUnavailableError('08007') : error;
    });
  }

  /** Runs an operation and gives the number of rows that its last part wrote: rows cost both sides more. */
  async write<Input>({ one, valuesOf }: Operation<Input, unknown>, input: NoInfer<Input>): Promise<number> {
    return await this.writeEncoded({ one }, valuesOf(input));
  }

  /** The same, for an input that was encoded before: by `valuesOf`. */
  async writeEncoded({ one }: Pick<Operation<never, unknown>, 'one'>, encoded: Encoded): Promise<number> {
    return (await this.#execute(one, encoded)).rowCount ?? 0;
  }

  /** Has a transaction of this package's own end with an operation, which is sent together with its COMMIT. */
  writeLast<Input>({ one, valuesOf }: Operation<Input, unknown>, input: NoInfer<Input>): void {
    this.#last.push([one, valuesOf(input)]);
  }

  /** What {@link writeLast} was given, in its order. */
  get last(): readonly (readonly [Statement, unknown[]])[] {
    return this.#last;
  }

  /** Runs an operation that has a form for many, for all inputs in one statement, and gives its rows. */
  async rowsOfMany<Input, Row>(
    { many, valuesOfMany }: ManyOperation<Input, Row>,
    encoded: readonly Encoded[],
  ): Promise<Row[]> {
    return (await this.#execute(many, valuesOfMany(encoded))).rows as Row[];
  }
}

/** The session of an operation: in the transaction of the manager, where its caller has given one. */
export const sessionOf = (dataSource: DataSource, manager?: EntityManager): Session =>
  new Session(
    (statement, values) => execute(dataSource, statement, values, manager),
    dataSource,
    manager ? 'caller' : 'none',
  );

/**
 * The session of an operation that belongs into the transaction of its caller.
 *
 * @throws TransactionRequiredError
 */
export function callersSession(dataSource: DataSource, manager: EntityManager, method: string): Session {
  queryRunnerOf(dataSource, manager, method);
  return sessionOf(dataSource, manager);
}

/** Runs an operation that writes at most `batchSize` rows, each time by itself, until it finds fewer. Gives their number. */
export async function writeInBatches(
  dataSource: DataSource,
  operation: Operation<{ readonly batch_size: number }, unknown>,
  batchSize: number,
): Promise<number> {
  const session = sessionOf(dataSource);
  for (let written = 0; ;) {
    const batch = await session.write(operation, { batch_size: batchSize });
    written += batch;
    if (batch < batchSize) return written;
  }
}
