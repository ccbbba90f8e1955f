import { ALEMBIC_09C2B295AFCD } from './alembic-09c2b295afcd';
import { ALEMBIC_9A82C6D3B654 } from './alembic-9a82c6d3b654';
import { TARGET } from './target';

/** What `readCatalog` says of a database with every migration run. */
export const targetCatalog = TARGET;

/** What `readCatalog` says of a database that Alembic has made, by revision, oldest first. */
export const alembicCatalogs = {
  '9a82c6d3b654': ALEMBIC_9A82C6D3B654,
  '09c2b295afcd': ALEMBIC_09C2B295AFCD,
} as const;
