import { createInterface } from 'node:readline';
import { PgBoss } from 'pg-boss';

const QUEUE = 'messages';
const CHUNK = 10_000;

const boss = new PgBoss({ connectionString: process.argv[2], supervise: false, schedule: false, migrate: true });
boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`));
await boss.start();
await boss.createQueue(QUEUE);

const commands = {
  async insert(count) {
    for (let inserted = 0; inserted < count; inserted += CHUNK) {
      const jobs = Array.from({ length: Math.min(CHUNK, count - inserted) }, () => ({
        data: { payload: 'x'.repeat(80) },
      }));
      await boss.insert(QUEUE, jobs);
    }
    return count;
  },
  async complete(batchSize) {
    const jobs = await boss.fetch(QUEUE, { batchSize });
    await boss.complete(
      QUEUE,
      jobs.map(({ id }) => id),
    );
    return jobs.length;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ');
  process.stdout.write(`${await commands[command](Number(count))}\n`);
}
await boss.stop();
