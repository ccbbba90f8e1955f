#!/usr/bin/env node
import { createProgram } from './program';
import { runCommand } from './run-command';

// Whoever reads has seen enough, as in `payment-events-db plan | head`: what was begun goes on, unheard.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

void runCommand(createProgram());
