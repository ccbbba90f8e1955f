import { ALEMBIC_09C2B295AFCD } from './alembic-09c2b295afcd';
import { ALEMBIC_9A82C6D3B654 } from './alembic-9a82c6d3b654';
import { patched } from './patched';
import { STEPS } from './steps';
import { TARGET } from './target';

/** What `readCatalog` says of a database with every migration run. */
export const targetCatalog = TARGET;

/** What `readCatalog` says of a database that Alembic has made, by revision, oldest first. */
export const alembicCatalogs = {
  '9a82c6d3b654': ALEMBIC_9A82C6D3B654,
  '09c2b295afcd': ALEMBIC_09C2B295AFCD,
} as const;

/**
 * What `readCatalog` says of a database whose newest migration is this one, which is neither the last of all nor one of
 * those that do what Alembic did.
 */
export function catalogAfter(migration: string): string | undefined {
  const names = Object.keys(STEPS);
  if (!(migration in STEPS)) return undefined;
  return names
    .slice(0, names.indexOf(migration) + 1)
    .reduce<string>((catalog, name) => patched(catalog, STEPS[name]!), ALEMBIC_09C2B295AFCD);
}
