#!/usr/bin/env node
import { program } from './program';
import { runCommand } from './run-command';

void runCommand(program);
