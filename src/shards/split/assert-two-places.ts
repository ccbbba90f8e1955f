import { query, sql } from '../../database/sql';
import { SplitRefusedError } from './errors';
import { type SplitEnds } from './split-session';

const PLACE = sql`
  SELECT current_schema() AS schema, concat_ws(' ', system_identifier, pg_database.oid) AS database
  FROM pg_control_system(), pg_database WHERE datname = current_database()`;

/**
 * Rows go to the table of the same name, with its schema, in another database: whose lock would wait for itself otherwise.
 *
 * @throws SplitRefusedError
 */
export async function assertTwoPlaces({ source, target }: SplitEnds): Promise<void> {
  type Place = { schema: string; database: string };
  const [[atSource], [atTarget]] = [await query<Place>(source, PLACE), await query<Place>(target, PLACE)];
  const problems: string[] = [];
  if (atSource!.database === atTarget!.database)
    problems.push('The target is the source itself: name another database.');
  if (atSource!.schema !== atTarget!.schema) {
    problems.push(
      `The tables of the source are in schema ${atSource!.schema}, and those of the target in ${atTarget!.schema}.`,
    );
  }
  if (problems.length > 0) throw new SplitRefusedError('start', problems);
}
