import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { WorkerModule } from './worker.module';

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(WorkerModule);
  // At SIGTERM the attempts that are under way come to their end, and their leases are given back.
  app.enableShutdownHooks();
}

void main();
