/** The variables of several databases, and what each is. */
export const SHARD_VARIABLES = {
  PAYMENT_EVENTS_DB_SHARDS:
    'The map of databases: the path of a file, or the map itself as JSON. Also what `shardMapFromEnvironment` reads. `configs`, `seed` and ' +
    '`verify --restaurant` work at the database that it gives the restaurant, whatever `DATABASE_URL` says.',
  PAYMENT_EVENTS_DB_SPLIT_TO: 'Where `shard split` moves restaurants to, as `DATABASE_URL` is written.',
  PAYMENT_EVENTS_DB_SPLIT_CONNECTION:
    'How the server of that database reaches the one that is split: a connection string of libpq. Default: as the map does.',
} as const;
