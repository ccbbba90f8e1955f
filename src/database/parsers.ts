import { types } from 'pg';
import { init } from 'pg-types/lib/textParsers';
import { ConfigurationError } from '../errors';

type Parser = (text: string) => unknown;

/** By the oid of the type: what `pg` has when nobody has called `pg.types.setTypeParser`, which is for the whole process. */
const parsers = new Map<number, Parser>();
init((oid, parser) => parsers.set(oid, parser));

/** date, timestamp, timestamptz. `pg` makes null of what is not in ISO format. */
for (const oid of [types.builtins.DATE, types.builtins.TIMESTAMP, types.builtins.TIMESTAMPTZ]) {
  const parse = parsers.get(oid)!;
  parsers.set(oid, (text) => {
    const time = parse(text);
    if (time === null) throw new ConfigurationError(NOT_ISO);
    return time;
  });
}

const NOT_ISO =
  'DateStyle: the session does not write times in ISO format. Leave DateStyle alone, or set it to ISO for the role: ' +
  "ALTER ROLE … SET DateStyle = 'ISO'";

/** How values are read, whatever the service has told `pg` for its own queries: given along with each statement. */
export const valueTypes = {
  getTypeParser: (oid: number, format?: 'text' | 'binary'): Parser =>
    format === 'binary' ? (types.getTypeParser(oid, format) as Parser) : (parsers.get(oid) ?? String),
};
