#!/usr/bin/env node
import { constants } from 'node:os';
import { createProgram } from './program';
import { runCommand } from './run-command';

// The reader has closed the pipe, as in `payment-events-db plan | head`: what was begun goes on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

// The first process of a container gets no signal that it has not asked for. A command that ends by itself when it is told,
// such as a relay, has a listener of its own.
if (process.pid === 1) {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => process.listenerCount(signal) === 1 && process.exit(128 + constants.signals[signal]));
  }
}

void runCommand(createProgram());
