import { splitStatements } from '../../src/migrator/split-sql';

describe('splitStatements', () => {
  test.each([
    ['nothing', ' \n', []],
    ['one with a semicolon at its end', ' SELECT 1;\n', ['SELECT 1']],
    ['two', 'SELECT 1;SELECT 2', ['SELECT 1', 'SELECT 2']],
    ['a literal', `SELECT 'a;''b';SELECT 2`, [`SELECT 'a;''b'`, 'SELECT 2']],
    [
      'a literal with a backslash',
      `SELECT E'a\\';b';SELECT 'c\\';SELECT 3`,
      [`SELECT E'a\\';b'`, `SELECT 'c\\'`, 'SELECT 3'],
    ],
    ['a name', `SELECT ";" FROM t;SELECT 2`, [`SELECT ";" FROM t`, 'SELECT 2']],
    ['a body', 'DO $$ BEGIN a; END $$;SELECT 2', ['DO $$ BEGIN a; END $$', 'SELECT 2']],
    ['a body in a body', 'DO $a$ x; $$;$$ $a$;SELECT 2', ['DO $a$ x; $$;$$ $a$', 'SELECT 2']],
    ['comments', `SELECT 1 -- it's; \n;/* ; ' */SELECT 2`, [`SELECT 1 -- it's;`, `/* ; ' */SELECT 2`]],
  ])('tells the statements apart in a text with %s', (_, sql, statements) => {
    expect(splitStatements(sql)).toEqual(statements);
  });
});
