import { Command } from 'commander';
import { adoptCommand } from './commands/adopt';
import { checkCommand } from './commands/check';
import { grantsCommand } from './commands/grants';
import { historyCommand } from './commands/history';
import { migrateCommand } from './commands/migrate';
import { outboxCommand } from './commands/outbox';
import { planCommand } from './commands/plan';
import { rebuildCommand } from './commands/rebuild';
import { relayCommand } from './commands/relay';
import { revertCommand } from './commands/revert';
import { stampCommand } from './commands/stamp';
import { statusCommand } from './commands/status';
import { verifyCommand } from './commands/verify';

/** `payment-events-db`, with all its commands. */
export const program = new Command('payment-events-db').description(
  'Looks after the database of DATABASE_URL. Every command says with --help what it does and what it needs.',
);
program.addCommand(statusCommand());
program.addCommand(historyCommand());
program.addCommand(planCommand());
program.addCommand(migrateCommand());
program.addCommand(revertCommand());
program.addCommand(stampCommand());
program.addCommand(checkCommand());
program.addCommand(adoptCommand());
program.addCommand(grantsCommand());
program.addCommand(verifyCommand());
program.addCommand(rebuildCommand());
program.addCommand(outboxCommand());
program.addCommand(relayCommand());
