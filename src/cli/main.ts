#!/usr/bin/env node
import { createProgram } from './program';
import { runCommand } from './run-command';

// The reader has closed the pipe, as in `payment-events-db plan | head`: what was begun goes on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

void runCommand(createProgram());
