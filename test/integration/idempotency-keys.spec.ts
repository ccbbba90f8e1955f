import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { IdempotencyKeyReuseError, InvalidCommandError, TransactionRequiredError } from '../../src/errors';
import { type Claim, type ClaimCommand, IdempotencyKeys } from '../../src/idempotency/idempotency-keys';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, overlap } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let keys: IdempotencyKeys;

beforeAll(async () => {
  dataSource = await database.dataSource();
  keys = new IdempotencyKeys(dataSource);
});

const aRefund = (changes: Partial<ClaimCommand> = {}): ClaimCommand => ({
  restaurantId: RESTAURANT,
  idempotencyKey: uuidv4(),
  operation: 'refund',
  authRequestId: uuidv4(),
  request: { amountCents: 500, lines: [{ sku: 'a', count: 1 }] },
  outcome: 'accepted',
  ...changes,
});
const claim = (command: ClaimCommand): Promise<Claim> =>
  dataSource.transaction((manager) => keys.claim(command, manager));
/** What a day does, without the waiting. */
const lapse = (idempotencyKey: string) =>
  database.query(
    `UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now() WHERE idempotency_key = $1`,
    [idempotencyKey],
  );

describe('claim', () => {
  it('is told once to do it, and afterwards what came of it', async () => {
    const command = aRefund();
    const { authRequestId } = command;
    expect(await claim(command)).toEqual({ replayed: false, authRequestId, outcome: 'accepted' });
    expect(await claim(command)).toEqual({ replayed: true, authRequestId, outcome: 'accepted' });
    expect(await claim({ ...command, outcome: 'another' })).toMatchObject({ outcome: 'accepted' });
    expect(
      await database.query(
        `SELECT operation, expires_at - created_at = interval '24 hours' AS a_day, octet_length(request_fingerprint) AS bytes
         FROM auth_idempotency_keys WHERE idempotency_key = $1`,
        [command.idempotencyKey],
      ),
    ).toEqual([{ operation: 'refund', a_day: true, bytes: 32 }]);
  });

  it('without an outcome is answered with none', async () => {
    const command = aRefund({ outcome: undefined });
    await claim(command);
    expect(await claim(command)).toMatchObject({ replayed: true, outcome: null });
  });

  it('takes the order of properties and the case of ids for the same request', async () => {
    const command = aRefund();
    await claim(command);
    const same = {
      ...command,
      restaurantId: RESTAURANT.toUpperCase(),
      authRequestId: command.authRequestId.toUpperCase(),
      request: { lines: [{ count: 1, sku: 'a' }], amountCents: 500 },
    };
    expect(await claim(same)).toMatchObject({ replayed: true });
  });

  it('refuses the key for another request or operation, and burns nothing', async () => {
    const command = aRefund();
    await claim(command);
    for (const change of [
      { operation: 'capture' },
      { authRequestId: uuidv4() },
      { request: { amountCents: 501, lines: [{ sku: 'a', count: 1 }] } },
      { request: {} },
    ]) {
      const error: unknown = await claim({ ...command, ...change }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(IdempotencyKeyReuseError);
      expect(JSON.stringify(error) + String(error)).not.toContain(command.idempotencyKey);
    }
    expect(await claim(command)).toMatchObject({ replayed: true });
  });

  it('shares its names with authorize, within a restaurant', async () => {
    const { idempotencyKey } = anAuthorizeCommand();
    await new AuthRequests(dataSource).authorize(anAuthorizeCommand({ idempotencyKey }));
    await expect(claim(aRefund({ idempotencyKey }))).rejects.toThrow(IdempotencyKeyReuseError);
    expect(await claim(aRefund({ idempotencyKey, restaurantId: uuidv4() }))).toMatchObject({ replayed: false });
  });

  it('needs the transaction that carries the operation out', async () => {
    const command = aRefund();
    await expect(keys.claim(command, dataSource.manager)).rejects.toThrow(TransactionRequiredError);
    const idle = dataSource.createQueryRunner();
    await expect(keys.claim(command, idle.manager)).rejects.toThrow(TransactionRequiredError);
    await idle.release();
    expect(await claim(command)).toMatchObject({ replayed: false });
  });

  it.each([
    ['an empty key', { idempotencyKey: '' }],
    ['a key of 256 characters', { idempotencyKey: 'k'.repeat(256) }],
    ['an operation of 21 characters', { operation: 'o'.repeat(21) }],
    ['a request that is not JSON', { request: { at: new Date() } }],
  ])('refuses %s before anything is sent', async (_what, change) => {
    await expect(claim(aRefund(change))).rejects.toThrow(InvalidCommandError);
  });

  it('goes with its transaction: rolled back, the key is free', async () => {
    const command = aRefund();
    const undone = dataSource.transaction(async (manager) => {
      await keys.claim(command, manager);
      throw new Error('the refund failed');
    });
    await expect(undone).rejects.toThrow('the refund failed');
    expect(await claim(command)).toMatchObject({ replayed: false });
  });

  it.each(['commit', 'rollback'] as const)('waits for the one before it, and for its %s', async (ending) => {
    const command = aRefund();
    const { first, second, waited } = await overlap(
      { database, dataSource },
      (manager) => keys.claim(command, manager),
      () => claim({ ...command, outcome: 'second' }),
      { ending },
    );
    expect(first.replayed).toBe(false);
    expect(waited).toBe(true);
    expect(second).toMatchObject(
      ending === 'commit' ? { replayed: true, outcome: 'accepted' } : { replayed: false, outcome: 'second' },
    );
  });

  it('takes an expired key over for any request, once', async () => {
    const command = aRefund();
    await claim(command);
    await lapse(command.idempotencyKey);
    const { idempotencyKey } = command;
    const other = aRefund({ idempotencyKey, operation: 'capture', outcome: 'captured' });
    const claims = await atOnce(8, () => claim(other));
    expect(claims.filter(({ replayed }) => !replayed)).toHaveLength(1);
    for (const { authRequestId, outcome } of claims) {
      expect({ authRequestId, outcome }).toEqual({ authRequestId: other.authRequestId, outcome: 'captured' });
    }
    await expect(claim(command)).rejects.toThrow(IdempotencyKeyReuseError);
  });
});

describe('a legacy key', () => {
  const aLegacyKey = async () => {
    const legacy = { restaurantId: RESTAURANT, idempotencyKey: uuidv4(), authRequestId: uuidv4() };
    await database.query(
      `INSERT INTO auth_idempotency_keys (restaurant_id, idempotency_key, auth_request_id) VALUES ($1, $2, $3)`,
      Object.values(legacy),
    );
    return legacy;
  };

  it('has no fingerprint: any authorization with it is the same one, also where its request has no row', async () => {
    const { idempotencyKey, authRequestId } = await aLegacyKey();
    const command = anAuthorizeCommand({ idempotencyKey, amountCents: 1 });
    expect(await new AuthRequests(dataSource).authorize(command)).toEqual({
      authRequestId,
      status: null,
      lastEventSequence: 0,
      replayed: true,
    });
  });

  it('is an authorization, not another operation', async () => {
    const { idempotencyKey, authRequestId } = await aLegacyKey();
    await expect(claim(aRefund({ idempotencyKey, authRequestId }))).rejects.toThrow(IdempotencyKeyReuseError);
  });
});

describe('purgeExpired', () => {
  const left = async () =>
    (await database.query<{ idempotency_key: string }>('SELECT idempotency_key FROM auth_idempotency_keys')).map(
      ({ idempotency_key }) => idempotency_key,
    );

  it('deletes expired keys, batch by batch, and no others', async () => {
    await database.query('DELETE FROM auth_idempotency_keys');
    const commands = Array.from({ length: 25 }, () => aRefund());
    for (const [index, command] of commands.entries()) {
      await claim(command);
      if (index < 21) await lapse(command.idempotencyKey);
    }
    expect(await keys.purgeExpired({ batchSize: 7 })).toBe(21);
    expect(await keys.purgeExpired()).toBe(0);
    expect((await left()).sort()).toEqual(
      commands
        .slice(21)
        .map(({ idempotencyKey }) => idempotencyKey)
        .sort(),
    );
  });

  it('neither waits for a key that is being taken over, nor deletes it', async () => {
    await database.query('DELETE FROM auth_idempotency_keys');
    const [taken, forgotten] = [aRefund(), aRefund()];
    for (const command of [taken, forgotten]) {
      await claim(command);
      await lapse(command.idempotencyKey);
    }
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => keys.claim(taken, manager),
      () => keys.purgeExpired(),
    );
    expect({ second, waited }).toEqual({ second: 1, waited: false });
    expect(await left()).toEqual([taken.idempotencyKey]);
  });

  it('and take-overs at once: every key is claimed once and stays', async () => {
    for (let round = 0; round < 30; round++) {
      await database.query('DELETE FROM auth_idempotency_keys');
      const commands = Array.from({ length: 12 }, () => aRefund());
      await Promise.all(commands.map(claim));
      await Promise.all(commands.map(({ idempotencyKey }) => lapse(idempotencyKey)));
      const [, ...claims] = await Promise.all([
        atOnce(2, () => keys.purgeExpired({ batchSize: 2 })),
        ...commands.flatMap((command) => [claim(command), claim(command)]),
      ]);
      expect(claims.filter(({ replayed }) => !replayed)).toHaveLength(12);
      expect(await left()).toHaveLength(12);
    }
  });
});
