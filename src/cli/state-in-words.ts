import { type MigrationRecord } from '../migrator/history';

/** `half applied` and the like. */
export const stateInWords = (state: MigrationRecord['state']): string => state.replace('_', ' ');
