import { Module } from '@nestjs/common';
import { AmqpPublisher } from 'payment-events-db/amqp';
import { PaymentEventsDbModule } from 'payment-events-db/nest';
import { BROKER_URL } from './environment';
import { MessageConsumer } from './message-consumer';
import { PaymentsWorker } from './payments-worker';
import { Processor } from './processor';
import { EXCHANGE } from './queues';

/** Takes what the outbox holds to RabbitMQ, and works on what comes from there. The database is that of `DATABASE_URL`. */
@Module({
  imports: [
    PaymentEventsDbModule.forRoot({
      relay: { publishers: new AmqpPublisher({ url: BROKER_URL, exchange: EXCHANGE }) },
      sweeper: {},
    }),
  ],
  providers: [MessageConsumer, PaymentsWorker, Processor],
})
export class WorkerModule {}
