import { type Command } from 'commander';
import { runCommand } from '../../src/cli/run-command';

/** What a clone of the repository has and the published package has not. */
const REMEDIES = {
  start_server:
    'Start one with either of:\n' +
    '  npm run db:start\n' +
    '  docker compose -f infrastructure/docker/docker-compose.yml up --detach --wait',
  create_database: 'Or let this create and migrate it: ./scripts/migrate_payment_events_db.sh',
  migrate: 'In a clone of the repository: ./scripts/migrate_payment_events_db.sh',
  start_over: "To start over on a developer's own database: ./scripts/reset_payment_events_db.sh",
};

/** Runs a script of the repository as {@link runCommand} does, and advises scripts of the repository. */
export const runScript = (command: Command): Promise<void> => runCommand(command, REMEDIES);
