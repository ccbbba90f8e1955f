/** A page of the reference: what is declared in these files and folders of src/. */
export interface Page {
  readonly name: string;
  readonly title: string;
  readonly sources: readonly string[];
}

/** In the order in which a newcomer meets them. All classes of errors are on the page `errors`. */
export const PAGES: readonly Page[] = [
  {
    name: 'connection',
    title: 'Configuration and DataSource',
    sources: ['config', 'data-source', 'connection', 'database', 'card-numbers'],
  },
  { name: 'auth-requests', title: 'Authorization requests', sources: ['auth-requests'] },
  { name: 'replica-reads', title: 'Reading from replicas', sources: ['replica-reads'] },
  { name: 'configs', title: 'Configurations of restaurants', sources: ['configs'] },
  { name: 'processing-locks', title: 'Processing locks', sources: ['locks'] },
  { name: 'outbox', title: 'Outbox and relay', sources: ['outbox'] },
  { name: 'sweeper', title: 'Seeing to what got stuck', sources: ['sweeper'] },
  { name: 'publishers', title: 'Publishers', sources: ['publishers'] },
  { name: 'configs', title: 'Processor configurations and their secrets', sources: ['configs'] },
  { name: 'idempotency-keys', title: 'Idempotency keys', sources: ['idempotency'] },
  { name: 'event-store', title: 'Event store', sources: ['event-store', 'protobuf'] },
  { name: 'read-model', title: 'Read model', sources: ['read-model'] },
  { name: 'inspection', title: 'Everything about one request', sources: ['inspection'] },
  { name: 'shards', title: 'Several databases', sources: ['shards', 'fence'] },
  { name: 'reporting', title: 'Reports over all restaurants', sources: ['reporting'] },
  { name: 'nest', title: 'In a NestJS service', sources: ['nest'] },
  { name: 'entities', title: 'Tables as entities', sources: ['entities'] },
  { name: 'migrations', title: 'Running migrations', sources: ['migrations', 'migrator', 'schema', 'check'] },
  { name: 'grants', title: 'Privileges', sources: ['grants'] },
  { name: 'seeds', title: 'Development data', sources: ['seeds'] },
  { name: 'testing', title: 'Servers and databases for tests', sources: ['testing'] },
  { name: 'errors', title: 'Classes of errors', sources: ['errors'] },
];

/** @throws Error where a folder has no page yet */
export function pageOf(file: string): string {
  const [, source] = file.replace(/\.ts$/, '').split('/');
  const found = PAGES.find(({ sources }) => sources.includes(source!));
  if (!found) throw new Error(`${file}: name the page of src/${source} in scripts/docs/api/pages.ts.`);
  return found.name;
}
