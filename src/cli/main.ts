#!/usr/bin/env node
import { Command } from 'commander';
import { rebuildCommand } from './commands/rebuild';
import { verifyCommand } from './commands/verify';
import { runCommand } from './run-command';

const program = new Command('payment-events-db').description(
  'Looks after the database of DATABASE_URL. Every command says with --help what it does and what it needs.',
);
program.addCommand(verifyCommand());
program.addCommand(rebuildCommand());

void runCommand(program);
