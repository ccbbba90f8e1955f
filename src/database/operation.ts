import { type Column, type Columns, type InputOf } from './columns';
import { statement, type Statement } from './statement';

/** What an operation is made of. */
interface OperationSpec<C extends Columns, Row> {
  /** Under which it is prepared, in snake case. */
  readonly name: string;
  readonly input: C;
  /** What its rows are: `rowsOf<{ status: string }>()`. Default: it is asked for no rows. */
  readonly output?: RowsOf<Row>;
  /** One statement that reads `input`, a table of one row, by the names of its columns. */
  readonly sql: string | ((input: C) => string);
  /** How it is done for many inputs at once, where that gains. */
  readonly many?: ManySpec<C>;
  /** See {@link Statement}. */
  readonly answerWithinMs?: number;
}

interface ManySpec<C extends Columns> {
  /** The columns of the key that is locked first: rows that are locked in one order cannot deadlock. */
  readonly orderBy: readonly (keyof C & string)[];
  /** Added at the end of the SQL: says which of the inputs were written. */
  readonly returning: string;
}

/** The values of one input as they are sent, in the order of its columns. */
export type Encoded = unknown[];

declare const ROW: unique symbol;

/** Rows of that shape. Nothing is there at run time. */
export interface RowsOf<Row> {
  readonly [ROW]?: Row;
}

export const rowsOf = <Row>(): RowsOf<Row> => ({});

/**
 * One statement together with the names and types of what it is given.
 *
 * @typeParam Input a value for each column of `input`, by name: one that is missing, misspelled or of the wrong type does
 *   not compile. Names inside the SQL are not the compiler's: a test prepares every operation.
 */
export interface Operation<Input, Row> extends RowsOf<Row> {
  /** For one input: `input` is a row of parameters, which the planner puts in their places. */
  readonly one: Statement;
  readonly valuesOf: (input: Input) => Encoded;
}

/** An operation that has a form for many inputs as well: there `input` is made of one array a column. */
export interface ManyOperation<Input, Row> extends Operation<Input, Row> {
  readonly many: Statement;
  /** @param encoded what `valuesOf` gives for each input, each with another key than the others */
  readonly valuesOfMany: (encoded: readonly Encoded[]) => unknown[];
}

/** Every operation that was defined so far, by the name of its statement. */
export const operations = new Map<string, Operation<never, unknown> & { readonly many?: Statement }>();

/**
 * Defines an operation: its `input` once, and one SQL text that reads it by name.
 *
 * The text may begin with WITH; `input` is put before its first part. As NOT MATERIALIZED it costs nothing, and plans are
 * as if the parameters stood in the text.
 *
 * @example
 * const READ_STATUS = operation({
 *   name: 'read_status',
 *   input: { auth_request_id: uuid },
 *   output: rowsOf<{ status: string }>(),
 *   sql: `SELECT status FROM auth_request_state JOIN input USING (auth_request_id)`,
 * });
 * const [row] = await session.rows(READ_STATUS, { auth_request_id: authRequestId });
 */
export function operation<const C extends Columns, Row = never>(
  spec: OperationSpec<C, Row> & { readonly many: ManySpec<C> },
): ManyOperation<InputOf<C>, Row>;
export function operation<const C extends Columns, Row = never>(
  spec: OperationSpec<C, Row>,
): Operation<InputOf<C>, Row>;
export function operation<const C extends Columns, Row>({
  name,
  input,
  sql,
  many,
  answerWithinMs,
}: OperationSpec<C, Row>): Operation<InputOf<C>, Row> {
  const columns = Object.entries(input) as [string, Column<unknown>][];
  // Apart, since taking a pair to pieces for each value takes as long as encoding it.
  const names = columns.map(([column]) => column);
  const encoders = columns.map(([, { encode }]) => encode);
  const body = typeof sql === 'string' ? sql : sql(input);
  const defined = {
    one: { ...statement(name, withInput(body, oneRow(columns))), answerWithinMs },
    valuesOf: (values: Record<string, unknown>) => names.map((column, index) => encoders[index]!(values[column])),
    many: many && statement(`${name}_many`, `${withInput(body, manyRows(columns, many.orderBy))} ${many.returning}`),
    valuesOfMany: (encoded: readonly Encoded[]) => {
      // PostgreSQL would fill a shorter array up with NULL.
      if (encoded.some(({ length }) => length !== names.length))
        throw new TypeError(`${name}: a value for each column`);
      return names.map((_, index) => encoded.map((values) => values[index]));
    },
  };
  operations.set(defined.one.name!, defined);
  return defined;
}

type TypedColumns = readonly (readonly [string, { readonly type: string }])[];

const oneRow = (columns: TypedColumns) =>
  columns.length === 0
    ? ''
    : `input AS NOT MATERIALIZED (
  SELECT ${columns.map(([column, { type }], index) => `$${index + 1}::${type} AS ${column}`).join(', ')}
)`;

/**
 * One input that waits for a lock makes all wait, so that none may for long: for this statement alone, and before it asks
 * for any, the limit is lowered. A limit that is lower already stays.
 */
const manyRows = (columns: TypedColumns, orderBy: readonly string[]) => `bound AS MATERIALIZED (
  SELECT set_config('lock_timeout', CASE WHEN limit_set::interval BETWEEN '1 ms' AND '${LONGEST_LOCK_WAIT}'
                                         THEN limit_set ELSE '${LONGEST_LOCK_WAIT}' END, true)
  FROM current_setting('lock_timeout') AS limit_set
), input AS MATERIALIZED (
  SELECT given.* FROM bound, unnest(${columns.map(([, { type }], index) => `$${index + 1}::${type}[]`).join(', ')})
    AS given (${columns.map(([column]) => column).join(', ')})
  ORDER BY ${orderBy.join(', ')}
)`;

const LONGEST_LOCK_WAIT = '50ms';

function withInput(body: string, input: string): string {
  if (input === '') return body;
  const [, recursive = '', rest] = /^\s*WITH\s+(RECURSIVE\s+)?([\s\S]*)$/.exec(body) ?? [];
  return rest === undefined ? `WITH ${input}\n${body.trim()}` : `WITH ${recursive}${input}, ${rest}`;
}
