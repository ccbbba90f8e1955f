import { AUTHORIZE } from '../../../src/auth-requests/authorize';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { migrations } from '../../../src/migrations';
import { at, best, type Comparison, underEach } from '../../contestant';
import { type Lab, MOST_CONNECTIONS, poolOf } from '../../lab/lab';
import { emmett } from './emmett';
import { bareStatement } from './one-statement';
import { pgbench } from './pgbench';
import { authorizing } from './request';
import { setBased } from './set-based';
import { legacySequence, ON_LEGACY_SCHEMA, ON_TARGET_SCHEMA, oneTransaction } from './several-statements';

const COALESCED = at(256, 'coalesced');

/** Ways of accepting a request: event, read model, outbox message and idempotency key. */
export const authorize: Comparison = {
  name: 'authorize',
  title: 'Accept a request: event, read model, outbox message, idempotency key',
  unit: 'requests',
  reference: best('bare'),
  ours: ['coalesced', 'single'],
  bars: [
    { of: COALESCED, against: at(256, 'single'), atLeast: 3.5, kind: 'required' },
    { of: COALESCED, against: best('emmett'), atLeast: 4, kind: 'reported' },
    { of: COALESCED, against: best('legacy'), atLeast: 5, kind: 'required' },
    { of: COALESCED, against: best('set-based'), atLeast: 0.4, kind: 'required' },
    { of: COALESCED, against: best('pgbench'), atLeast: 1.3, kind: 'required' },
    { of: best('single'), against: best('bare'), atLeast: 0.85, kind: 'required' },
    { of: at(1, 'coalesced'), against: at(1, 'bare'), atLeast: 0.85, kind: 'reported' },
  ],

  async prepare(lab) {
    const { restaurants } = lab;
    const { callers, connections } = lab.settings;
    const coalesced = await lab.migratedDatabase();
    const single = await lab.migratedDatabase({ coalescedStatements: 0 });
    const pool = poolOf(await lab.migratedDatabase());
    const theirs = poolOf(await lab.migratedDatabase({ poolSize: MOST_CONNECTIONS }));
    const legacy = poolOf(await legacyDatabase(lab));
    return [
      ...underEach([1, ...callers], {
        name: 'coalesced',
        title: 'AuthRequests.authorize',
        operate: authorizing(new AuthRequests(coalesced), restaurants),
      }),
      ...underEach(callers, {
        name: 'single',
        title: 'AuthRequests.authorize, not coalesced',
        operate: authorizing(new AuthRequests(single), restaurants),
      }),
      ...underEach([1, connections], {
        name: 'bare',
        title: 'its single statement through pg alone, prepared',
        operate: bareStatement(pool, restaurants, { name: AUTHORIZE.one.name }),
      }),
      ...underEach([connections], {
        name: 'unnamed',
        title: 'the same, not prepared',
        operate: bareStatement(pool, restaurants, {}),
      }),
      ...underEach([connections], {
        name: 'transaction',
        title: 'one transaction, 6 round trips',
        operate: oneTransaction(theirs, restaurants, ON_TARGET_SCHEMA),
      }),
      ...underEach(callers, {
        name: 'legacy',
        title: 'the legacy sequence, 9 round trips in two transactions',
        operate: legacySequence(theirs, restaurants, ON_TARGET_SCHEMA),
      }),
      ...underEach([connections], {
        name: 'legacy_schema',
        title: 'the same on the legacy schema',
        operate: legacySequence(legacy, restaurants, ON_LEGACY_SCHEMA),
      }),
      ...(await emmett(lab)),
      ...(await pgbench(lab)),
      await setBased(await lab.migratedDatabase(), restaurants),
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
