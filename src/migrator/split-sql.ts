/** What may hold a semicolon that ends no statement, then the semicolon, then all else. */
const TOKENS =
  /[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|"[^"]*"|\$(\w*)\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\/|;|\w+|[\s\S]/g;

/**
 * The statements of a text of SQL, without the semicolons between them. A function's body is one token as long as it is
 * quoted, which one of `BEGIN ATOMIC … END` is not.
 */
export function splitStatements(sql: string): string[] {
  const statements = [''];
  for (const [token] of sql.matchAll(TOKENS)) {
    if (token === ';') statements.push('');
    else statements[statements.length - 1] += token;
  }
  return statements.map((statement) => statement.trim()).filter((statement) => statement !== '');
}
