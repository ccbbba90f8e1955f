import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseError as ServerError } from 'pg-protocol';
import { SQL_STATES, sqlStateRule } from '../../src/database/sql-states';
import { isFitAfter, translateError } from '../../src/database/translate-error';
import { type PaymentEventsDbError } from '../../src/errors';
import { docTable } from '../support/docs/doc-table';

const PAGE = 'docs/reference/errors.md';

/** The outcome of a code, of a class by its first code that has no row of its own. */
function outcomeOf(code: string): { error: PaymentEventsDbError; fit: boolean } {
  const whole = code.length === 5 ? code : `${code}ZZZ`;
  const thrown = Object.assign(new ServerError('of the server', 0, 'error'), { code: whole, severity: 'ERROR' });
  return { error: translateError(thrown) as PaymentEventsDbError, fit: isFitAfter(thrown) };
}

it(`${PAGE} shows the table of SQLSTATEs as the translator obeys it`, () => {
  const rows = SQL_STATES.map(({ codes, reason }) => {
    const [{ error, fit }] = codes.map(outcomeOf) as [ReturnType<typeof outcomeOf>];
    return [codes.join(' '), error.retryable ? 'yes' : 'no', error.name, fit ? '' : 'closed', reason];
  });
  expect(docTable(PAGE, 'SQLSTATEs')).toEqual(rows);
});

it('all codes of a row become the same', () => {
  for (const { codes } of SQL_STATES) {
    const outcomes = new Set(codes.map(outcomeOf).map(({ error, fit }) => `${error.name} ${fit}`));
    expect([codes, outcomes.size]).toEqual([codes, 1]);
  }
});

it('no code stands in two rows', () => {
  const codes = SQL_STATES.flatMap((rule) => rule.codes);
  expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([]);
  expect(codes.every((code) => /^[0-9A-Z]{2}([0-9A-Z]{3})?$/.test(code))).toBe(true);
});

it('a code without a row of its own is judged by its class, and by nothing that it is only alike to', () => {
  expect(sqlStateRule('22P02').codes).toContain('22');
  expect(sqlStateRule('25P01').codes).toContain('25P01');
  expect(outcomeOf('08P99').error).toMatchObject({ name: 'DatabaseError', retryable: false });
  expect(outcomeOf('57P99').error).toMatchObject({ name: 'DatabaseError', retryable: false });
});

it('no other file of the source spells an SQLSTATE that decides about a retry', () => {
  const decided = SQL_STATES.filter(({ kind }) => kind === 'unavailable' || kind === 'conflict').flatMap(
    ({ codes }) => codes,
  );
  expect(decided.length).toBeGreaterThan(10);
  expect(readFileSync(join(__dirname, '../../src/cli/explain-error.ts'), 'utf8')).not.toMatch(
    new RegExp(`'(${decided.join('|')})'`),
  );
});
