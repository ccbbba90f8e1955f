import { type Drift } from '../schema/compare-catalogs';
import { type Obstacle } from './dependents';

/**
 * Whether something that differs from a revision of Alembic may stay through all migrations: storage settings, replica
 * identity, an added index that is not unique and has no name of ours, and what other applications have made upon
 * the tables, unless it would stop a migration.
 */
export function isHarmless(
  { kind, object, expected, actual }: Drift,
  obstacles: readonly Obstacle[],
  ourIndexes: ReadonlySet<string>,
): boolean {
  if (kind === 'different') return withoutTuning(expected!) === withoutTuning(actual!);
  if (kind !== 'unexpected') return false;
  const [, index] = /: index (\S+)$/.exec(object) ?? [];
  if (index) return !ourIndexes.has(index) && actual!.startsWith('index CREATE INDEX ');
  const [, foreignKey, reader = foreignKey] =
    /^(?:referenced by \S+ (\S+) FOREIGN KEY|read by (\S+$))/.exec(actual!) ?? [];
  return reader !== undefined && !obstacles.some(({ reason }) => isOf(reader, reason));
}

const isOf = (name: string, reason: string) =>
  [`view ${name} `, `constraint ${name} `].some((start) => reason.replace(/^materialized /, '').startsWith(start));

const withoutTuning = (line: string) =>
  line
    .replace(/^(table .*?) with \(.*?\)|^(index .*?) WITH \(.*?\)/, '$1$2')
    .replace(/ replica identity( nothing| full)?$| storage .$/, '');
