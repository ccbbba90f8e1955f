/** Of RabbitMQ, as `amqp://user:password@host/vhost`. */
export const BROKER_URL = required('BROKER_URL');

/** Where the payment processor answers. */
export const PROCESSOR_URL = required('PROCESSOR_URL');

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`Set ${name}: the worker cannot start without it.`);
  return value;
}
