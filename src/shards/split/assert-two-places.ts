import { query, sql } from '../../database/sql';
import { SplitRefusedError } from './errors';
import { type SplitEnds } from './split-session';

const PLACE = sql`
  SELECT current_schema() AS schema, concat_ws(' ', system_identifier, pg_database.oid) AS database,
    pg_postmaster_start_time()::text AS "startedAt", pg_is_in_recovery() AS "isStandby"
  FROM pg_control_system(), pg_database WHERE datname = current_database()`;

/**
 * Rows go to the table of the same name, with its schema, in another database: whose lock would wait for itself otherwise. A clone has
 * all that the source has but the time of its start. Both take writes.
 *
 * @returns whether the one is a physical copy of the other, or was
 * @throws SplitRefusedError
 */
export async function assertTwoPlaces({ source, target }: SplitEnds): Promise<boolean> {
  type Place = { schema: string; database: string; startedAt: string; isStandby: boolean };
  const [[atSource], [atTarget]] = [await query<Place>(source, PLACE), await query<Place>(target, PLACE)];
  const problems: string[] = [];
  const isClone = atSource!.database === atTarget!.database;
  if (isClone && atSource!.startedAt === atTarget!.startedAt)
    problems.push('The target is the source itself: name another database.');
  for (const [end, { isStandby }] of Object.entries({ source: atSource!, target: atTarget! })) {
    if (isStandby) {
      problems.push(
        `The ${end} is a standby, as before the end of a failover: promote it, or name the server that takes writes.`,
      );
    }
  }
  if (atSource!.schema !== atTarget!.schema) {
    problems.push(
      `The tables of the source are in schema ${atSource!.schema}, and those of the target in ${atTarget!.schema}.`,
    );
  }
  if (problems.length > 0) throw new SplitRefusedError('start', problems);
  return isClone;
}
