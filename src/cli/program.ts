import { Command } from 'commander';
import { adoptCommand } from './commands/adopt';
import { checkCommand } from './commands/check';
import { configsCommand } from './commands/configs';
import { createCommand } from './commands/create';
import { devCommand } from './commands/dev';
import { grantsCommand } from './commands/grants';
import { historyCommand } from './commands/history';
import { holdsCommand } from './commands/holds';
import { initCommand } from './commands/init';
import { inspectCommand } from './commands/inspect';
import { migrateCommand } from './commands/migrate';
import { outboxCommand } from './commands/outbox';
import { planCommand } from './commands/plan';
import { rebuildCommand } from './commands/rebuild';
import { relayCommand } from './commands/relay';
import { reportingCommand } from './commands/reporting';
import { requestsCommand } from './commands/requests';
import { revertCommand } from './commands/revert';
import { shardCommand } from './commands/shard';
import { seedCommand } from './commands/seed';
import { secretsCommand } from './commands/secrets';
import { stampCommand } from './commands/stamp';
import { statusCommand } from './commands/status';
import { sweepCommand } from './commands/sweep';
import { verifyCommand } from './commands/verify';
import { VERSION } from '../migrator/version';

const COMMANDS = [
  initCommand,
  devCommand,
  createCommand,
  statusCommand,
  historyCommand,
  planCommand,
  migrateCommand,
  seedCommand,
  revertCommand,
  stampCommand,
  checkCommand,
  adoptCommand,
  grantsCommand,
  verifyCommand,
  rebuildCommand,
  inspectCommand,
  requestsCommand,
  holdsCommand,
  configsCommand,
  secretsCommand,
  outboxCommand,
  relayCommand,
  sweepCommand,
  shardCommand,
  reportingCommand,
];

/** `payment-events-db`, with all its commands. */
export function createProgram(): Command {
  const program = new Command('payment-events-db')
    .description('Manages the database of DATABASE_URL. Every command says with --help what it does and what it needs.')
    .version(VERSION, '-V, --version', 'print the version of this package');
  for (const command of COMMANDS) program.addCommand(command());
  return program;
}
