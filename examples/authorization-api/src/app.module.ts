import { Module, ValidationPipe } from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { InvalidCommandError } from 'payment-events-db';
import { PaymentEventsDbModule, ProblemDetailsFilter } from 'payment-events-db/nest';
import { AuthorizationsController } from './authorizations/authorizations.controller.js';
import { HealthController } from './health.controller.js';

/** What a client sends is refused as a malformed command is, so that there is one form for both: a problem with status 400. */
const validation = new ValidationPipe({
  transform: true,
  whitelist: true,
  forbidNonWhitelisted: true,
  exceptionFactory: (errors) =>
    new InvalidCommandError(
      'Request',
      errors.flatMap(({ constraints }) => Object.values(constraints ?? {})),
    ),
});

/** The database is that of `DATABASE_URL`. */
@Module({
  imports: [TerminusModule, PaymentEventsDbModule.forRoot()],
  controllers: [AuthorizationsController, HealthController],
  providers: [
    { provide: APP_PIPE, useValue: validation },
    { provide: APP_FILTER, useClass: ProblemDetailsFilter },
  ],
})
export class AppModule {}
