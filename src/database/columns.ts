/** A column of an operation's `input`: its type in PostgreSQL, and what a value of it is given as. */
export interface Column<Value> {
  readonly type: string;
  /** What `pg` sends for a value. */
  readonly encode: (value: Value) => unknown;
}

/** The columns of an `input`, under the names by which its SQL reads them. */
export type Columns = Readonly<Record<string, Column<never>>>;

/** The values of an `input`: one for each of its columns, no more and no fewer. */
export type InputOf<C extends Columns> = {
  readonly [Name in keyof C]: C[Name] extends Column<infer Value> ? Value : never;
};

const asItIs = (value: unknown) => value;

const column = <Value>(type: string, encode: (value: Value) => unknown = asItIs): Column<Value> => ({ type, encode });

export const text = column<string>('text');
export const uuid = column<string>('uuid');
export const boolean = column<boolean>('boolean');
export const integer = column<number>('integer');
/** A number must be a safe integer; text must be of digits. */
export const bigint = column<bigint | number | string>('bigint', String);
export const float8 = column<number>('float8');
export const timestamptz = column<Date>('timestamptz');
/** A view of the bytes: `pg` takes nothing but a Buffer inside an array. */
export const bytea = column<Uint8Array>('bytea', (bytes) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
);
/** As text, since `pg` would make a PostgreSQL array of an array. */
export const jsonb = column<object>('jsonb', (value) => JSON.stringify(value));

/** A column that may be NULL. */
export const orNull = <Value>({ type, encode }: Column<Value>): Column<Value | null> =>
  column(type, (value) => (value === null ? null : encode(value)));

/** A column that is a list of values. */
export const arrayOf = <Value>({ type, encode }: Column<Value>): Column<readonly Value[]> =>
  column(`${type}[]`, (values) => values.map((value) => encode(value)));
