import { type Queryable } from './queryable';

/** A query whose values stand where they are used. `pg`'s own `client.query` takes it as well. */
export interface BoundSql {
  readonly text: string;
  readonly values: unknown[];
}

class Raw {
  constructor(readonly text: string | number) {}
}

/** A constant of ours that becomes part of a query's text, such as a list of columns. Never what somebody has given. */
export const raw = (text: string | number): Raw => new Raw(text);

/**
 * A query with its values in their places: each is sent as a parameter, never as text, but for what is {@link raw}. For
 * what runs seldom; what the services run all day is an `operation`, which is prepared.
 *
 * @example
 * await query(session, sql`SELECT to_regclass(${name}) IS NOT NULL AS exists`);
 */
export function sql(strings: TemplateStringsArray, ...parts: unknown[]): BoundSql {
  const values: unknown[] = [];
  const place = (part: unknown) => (part instanceof Raw ? part.text : `$${values.push(part)}`);
  return { text: strings.reduce((text, string, index) => `${text}${place(parts[index - 1])}${string}`), values };
}

/** Runs a query and gives its rows. */
export async function query<Row>(session: Queryable, { text, values }: BoundSql): Promise<Row[]> {
  return (await session.query(text, values)) as Row[];
}
