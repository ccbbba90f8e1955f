#!/usr/bin/env node
import { Command } from 'commander';
import { outboxCommand } from './commands/outbox';
import { rebuildCommand } from './commands/rebuild';
import { relayCommand } from './commands/relay';
import { verifyCommand } from './commands/verify';
import { runCommand } from './run-command';

const program = new Command('payment-events-db').description(
  'Looks after the database of DATABASE_URL. Every command says with --help what it does and what it needs.',
);
program.addCommand(verifyCommand());
program.addCommand(rebuildCommand());
program.addCommand(outboxCommand());
program.addCommand(relayCommand());

void runCommand(program);
