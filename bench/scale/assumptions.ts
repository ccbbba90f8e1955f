/** What is not measured: of the machine of one database, of the service, and of its operation. */
export const ASSUMPTIONS = {
  cores: { value: 16, means: 'cores of one database server' },
  speed: { value: 1, means: 'how much faster such a core is than one of the machine that was measured' },
  busy: {
    value: 0.5,
    means: 'of its CPU at peak; the rest is for vacuum, backups, replicas and a day that is not as planned',
  },
  walMBs: { value: 200, means: 'MB of WAL a second that its disk and its replica take' },
  imagesPerRequest: {
    value: 6,
    means: 'pages that a request is the first to change since a checkpoint, and so writes whole',
  },
  imageBytes: { value: 6_000, means: 'bytes of such a page: 8 KiB but for its free part' },
  storageTB: { value: 16, means: 'TB of storage of one database server' },
  fullAt: { value: 0.7, means: 'of its storage when it is to be split, or given more' },
  connections: { value: 400, means: 'connections that one database server takes' },
  pool: { value: 4, means: 'connections of each process to each database it talks to' },
  busyNode: { value: 0.5, means: 'of one core that a process of Node uses at peak' },
  cycles: { value: 1.05, means: 'cycles of a worker for each request: some are tried again' },
  voids: { value: 0.05, means: 'voids for each request' },
  looks: { value: 3, means: 'times that a request is looked up' },
  peakToMean: { value: 4, means: 'peak by the mean of a year' },
  keysHours: { value: 24, means: 'hours that an idempotency key is kept' },
  messagesDays: { value: 7, means: 'days that a delivered message is kept' },
  copyMBs: { value: 50, means: 'MB a second that a split copies, indexes included' },
  failures: { value: 0.5, means: 'failures of a database server a year' },
  failoverSeconds: { value: 60, means: 'seconds until its replica has taken over' },
} as const satisfies Record<string, { value: number; means: string }>;

export type Assumptions = Readonly<Record<keyof typeof ASSUMPTIONS, number>>;

export const DEFAULT_ASSUMPTIONS = Object.fromEntries(
  Object.entries(ASSUMPTIONS).map(([name, { value }]) => [name, value]),
) as Assumptions;

/** Of `cores=32,busy=0.6`. What is not named is as assumed. Throws an `Error` that says what is wrong. */
export function readAssumptions(text: string): Assumptions {
  const changed = text
    .split(',')
    .filter(Boolean)
    .map((each) => {
      const [name, value] = each.split('=') as [string, string | undefined];
      if (!Object.hasOwn(ASSUMPTIONS, name)) {
        throw new Error(`there is no assumption "${name}", only ${Object.keys(ASSUMPTIONS).join(', ')}`);
      }
      if (!(Number(value) > 0 && Number(value) < Infinity)) throw new Error(`${name} must be a number above 0`);
      return [name, Number(value)];
    });
  return { ...DEFAULT_ASSUMPTIONS, ...(Object.fromEntries(changed) as Partial<Assumptions>) };
}
