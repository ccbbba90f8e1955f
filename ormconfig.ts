import { readConfig } from './src/config';
import { createDataSourceOptions, PaymentEventsDataSource } from './src/data-source';

// The typeorm CLI wants exactly one DataSource here.
export default new PaymentEventsDataSource(
  createDataSourceOptions({ applicationName: 'payment-events-db migrations', ...readConfig().dataSource }),
);
