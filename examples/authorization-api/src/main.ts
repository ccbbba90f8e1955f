import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { serveOpenApi } from './openapi.js';

const app = await NestFactory.create(AppModule);
serveOpenApi(app);
// At SIGTERM what is under way is answered, and then the connections are closed.
app.enableShutdownHooks();
await app.listen(Number(process.env['PORT'] ?? 3000));
new Logger('main').log(`Listens at ${await app.getUrl()}`);
