import { AUTHORIZE } from '../../../src/auth-requests/authorize';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { migrations } from '../../../src/migrations';
import { type Comparison } from '../../contestant';
import { type Lab, poolOf } from '../../lab/lab';
import { emmett } from './emmett';
import { bareStatement } from './one-statement';
import { authorizing } from './request';
import { legacySequence, ON_LEGACY_SCHEMA, ON_TARGET_SCHEMA, oneTransaction } from './several-statements';

/** Ways of accepting a request: event, read model, outbox message and idempotency key. */
export const authorize: Comparison = {
  name: 'authorize',
  title: 'Accept a request: event, read model, outbox message, idempotency key',
  unit: 'requests',
  reference: 'bare',
  bars: [
    { of: 'authorize', against: 'bare', atLeast: 0.85, kind: 'required' },
    { of: 'authorize', against: 'legacy', atLeast: 2.5, kind: 'required' },
    { of: 'authorize', against: 'emmett', atLeast: 1.7, kind: 'reported' },
  ],

  async prepare(lab) {
    const { restaurants } = lab;
    const dataSource = await lab.migratedDatabase();
    const pool = poolOf(dataSource);
    const legacy = poolOf(await legacyDatabase(lab));
    const others = await emmett(lab);
    return [
      {
        name: 'authorize',
        title: 'AuthRequests.authorize',
        operate: authorizing(dataSource, restaurants),
      },
      {
        name: 'bare',
        title: 'its statement alone through pg, prepared',
        operate: bareStatement(pool, restaurants, { name: AUTHORIZE.one.name }),
      },
      {
        name: 'unnamed',
        title: 'the same, not prepared',
        operate: bareStatement(pool, restaurants, {}),
      },
      {
        name: 'transaction',
        title: 'one transaction, 6 round trips',
        operate: oneTransaction(pool, restaurants, ON_TARGET_SCHEMA),
      },
      {
        name: 'legacy',
        title: 'the legacy sequence, 9 round trips in two transactions',
        operate: legacySequence(pool, restaurants, ON_TARGET_SCHEMA),
      },
      {
        name: 'legacy_schema',
        title: 'the same on the legacy schema',
        operate: legacySequence(legacy, restaurants, ON_LEGACY_SCHEMA),
      },
      ...(others ? [others] : []),
    ];
  },
};

/** The first two migrations make what the legacy services run on. */
async function legacyDatabase(lab: Lab): Promise<PaymentEventsDataSource> {
  const dataSource = await lab.connect(await lab.emptyDatabase());
  const queryRunner = dataSource.createQueryRunner();
  for (const Migration of migrations.slice(0, 2)) await new Migration().up(queryRunner);
  await queryRunner.release();
  return dataSource;
}
