import { Client } from 'pg';

/** One session for one piece of work. */
export async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: 'payment-events-db testing' });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
