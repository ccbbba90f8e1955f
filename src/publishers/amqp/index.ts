export { AmqpPublisher, type AmqpPublisherOptions } from './amqp-publisher';
