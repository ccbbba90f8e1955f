import { type EventEmitter } from 'node:events';
import { type QueryRunner } from 'typeorm';
import { type Say } from './migration-lock';

interface Notice {
  readonly message: string;
  readonly table?: string;
}

/**
 * Tells what a migration has done to rows: it raises a notice that names their table. Those of PostgreSQL itself, such as of
 * what DROP … IF EXISTS did not find, name none.
 *
 * @returns ends it
 */
export async function tellNotices(queryRunner: QueryRunner, say: Say): Promise<() => void> {
  const client = (await queryRunner.connect()) as EventEmitter;
  const tell = ({ message, table }: Notice) => {
    if (table) say(message);
  };
  client.on('notice', tell);
  return () => client.off('notice', tell);
}
