import { arrayOf, bigint, boolean, bytea, integer, jsonb, orNull, text, uuid } from '../../src/database/columns';
import { operation, rowsOf } from '../../src/database/operation';
import { type Session } from '../../src/database/session';
import { appendEvent, eventMetadata, eventOf } from '../../src/event-store/append-event';

const CHARGE = operation({
  name: 'charge',
  input: { id: uuid, cents: bigint, note: orNull(text), is_final: boolean },
  output: rowsOf<{ id: string }>(),
  sql: 'SELECT id FROM input',
});
const charge = { id: '0190-…', cents: 5, note: null, is_final: true };

/** Never called: `npm run typecheck` reads it. */
export async function doesNotCompile(session: Session): Promise<void> {
  await session.rows(CHARGE, charge);
  // @ts-expect-error a value is forgotten
  await session.rows(CHARGE, { id: 'x', cents: 5, note: null });
  // @ts-expect-error a value is misspelled
  await session.rows(CHARGE, { id: 'x', cent: 5, note: null, is_final: true });
  // @ts-expect-error a value is of the wrong type
  await session.rows(CHARGE, { ...charge, is_final: 'yes' });
  // @ts-expect-error null where the column takes none
  await session.rows(CHARGE, { ...charge, cents: null });
  // @ts-expect-error the data is that of another type of event
  eventOf('AuthVoidRequested').encode({ authRequestId: 'x', expiredAt: new Date(), reason: '' });
  // @ts-expect-error the type of an event is that of a column made for it
  appendEvent({ event: { eventType: 'AuthVoidRequested' }, event_metadata: eventMetadata }, { from: 'changed' });
  // @ts-expect-error the event is the column of that name
  appendEvent({ other: eventOf('AuthVoidRequested'), event_metadata: eventMetadata }, { from: 'changed' });
  // @ts-expect-error it has no form for many
  await session.rowsOfMany(CHARGE, [charge]);
  // @ts-expect-error a value too many
  await session.rows(CHARGE, { ...{ id: 'x', cents: 5, note: null, is_final: true }, cent: 5 });
  // @ts-expect-error there is no such event
  eventOf('AuthVoidAsked');
}

describe('an operation', () => {
  test('numbers its parameters by the columns of its input', () => {
    expect(CHARGE.one.text).toBe(`WITH input AS NOT MATERIALIZED (
  SELECT $1::uuid AS id, $2::bigint AS cents, $3::text AS note, $4::boolean AS is_final
)
SELECT id FROM input`);
  });

  test('gives the values in the order of its columns, whatever the order of the input', () => {
    expect(CHARGE.valuesOf({ is_final: true, note: null, cents: 2n ** 60n, id: 'a' })).toEqual([
      'a',
      '1152921504606846976',
      null,
      true,
    ]);
  });

  test('puts its input before the first part of a text that has parts', () => {
    const input = { n: integer };
    const texts = [
      'WITH a AS (SELECT n FROM input) SELECT * FROM a',
      '\n  WITH RECURSIVE a AS (SELECT n FROM input) SELECT 1',
    ];
    const [plain, recursive] = texts.map((sql) => operation({ name: 'parts', input, sql }).one.text);
    expect(plain).toBe(`WITH input AS NOT MATERIALIZED (
  SELECT $1::integer AS n
), a AS (SELECT n FROM input) SELECT * FROM a`);
    expect(recursive).toMatch(/^WITH RECURSIVE input AS NOT MATERIALIZED \([^)]*\), a AS/);
  });

  test('without an input is its text', () => {
    expect(operation({ name: 'lock', input: {}, sql: 'LOCK TABLE t' }).one.text).toBe('LOCK TABLE t');
  });

  test('for many is made of one array a column, in the order in which rows are to be locked', () => {
    const many = operation({
      name: 'many',
      input: { id: uuid, at: integer },
      sql: 'INSERT INTO t SELECT id, at FROM input',
      many: { orderBy: ['at', 'id'], returning: 'RETURNING id' },
    });
    expect(many.many?.text).toMatch(/^WITH bound AS MATERIALIZED \(\n {2}SELECT set_config\('lock_timeout'/);
    expect(many.many?.text).toContain(`input AS MATERIALIZED (
  SELECT given.* FROM bound, unnest($1::uuid[], $2::integer[])
    AS given (id, at)
  ORDER BY at, id
)
INSERT INTO t SELECT id, at FROM input RETURNING id`);
    const rows = [{ id: 'a', at: 1 }, { id: 'b', at: 2 }]; // prettier-ignore
    expect(many.valuesOfMany(rows.map(many.valuesOf))).toEqual([['a', 'b'], [1, 2]]); // prettier-ignore
    // Arrays of unequal length are refused.
    expect(() => many.valuesOfMany([['a', 1], ['b']])).toThrow('many: a value for each column'); // prettier-ignore
  });

  test('prepares another text under another name', () => {
    const [one, other] = ['SELECT 1', 'SELECT 2'].map((sql) => operation({ name: 'same', input: {}, sql }).one.name);
    expect(one).not.toBe(other);
  });
});

test('bytes are given as a view of them, JSON as text, lists element by element', () => {
  const bytes = new Uint8Array([1, 2, 3]).subarray(1);
  expect(bytea.encode(bytes)).toEqual(Buffer.from([2, 3]));
  expect((bytea.encode(bytes) as Buffer).buffer).toBe(bytes.buffer);
  expect(jsonb.encode({ a: [1] })).toBe('{"a":[1]}');
  expect(arrayOf(bigint).encode([1n, 2])).toEqual(['1', '2']);
});

test('the type that an event is stored under is that of its message', () => {
  const event = eventOf('AuthVoidRequested');
  expect(appendEvent({ event, event_metadata: eventMetadata }, { from: 'changed' })).toContain(`'AuthVoidRequested'`);
});
