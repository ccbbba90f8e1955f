export { SqsPublisher, type SqsPublisherOptions } from './sqs-publisher';
