import { targetCatalog } from '../migrator/catalogs';
import { MIGRATIONS_TABLE } from '../migrator/history';

const named = (kind: string): string[] =>
  [...targetCatalog.matchAll(new RegExp(`^${kind} (\\w+)`, 'gm'))].map(([, name]) => name!);

/** Everything of ours that a privilege can be on. */
export const TABLES: readonly string[] = [...named('table'), MIGRATIONS_TABLE];
export const SEQUENCES: readonly string[] = [...named('sequence'), `${MIGRATIONS_TABLE}_id_seq`];
/** Triggers run them whatever their privileges are. */
export const FUNCTIONS: readonly string[] = named('function');
