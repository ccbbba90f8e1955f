import { Controller, Get } from '@nestjs/common';
import { HealthCheck, HealthCheckService } from '@nestjs/terminus';
import { PaymentEventsDbHealth } from 'payment-events-db/nest';

@Controller('health')
export class HealthController {
  constructor(
    private readonly checks: HealthCheckService,
    private readonly health: PaymentEventsDbHealth,
  ) {}

  /** For a readiness probe. */
  @Get('ready')
  @HealthCheck()
  async ready() {
    return await this.checks.check([
      () => this.health.database('database'),
      () => this.health.migrations('migrations'),
    ]);
  }
}
