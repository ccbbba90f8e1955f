import { type PaymentEventsDataSource } from '../../../src/data-source';
import { type Operation } from '../../../src/database/operation';
import { CLAIM, MARK_PROCESSED } from '../../../src/outbox/relay-turn';
import { type Lab, poolOf } from '../../lab/lab';

/** The statements of a turn, prepared, with nothing around them. */
export async function bareLoop(
  lab: Lab,
  dataSource: PaymentEventsDataSource,
  batchSize: number,
): Promise<() => Promise<number>> {
  const client = await poolOf(dataSource).connect();
  lab.atEnd(() => Promise.resolve(client.release()));
  return async () => {
    await client.query("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '15000'");
    const { rows } = await client.query<{ id: string }>(prepared(CLAIM, { batch_size: batchSize, resting_types: [] }));
    await client.query(prepared(MARK_PROCESSED, { ids: rows.map(({ id }) => id) }));
    await client.query('COMMIT');
    return rows.length;
  };
}

const prepared = <Input>({ one, valuesOf }: Operation<Input, unknown>, input: Input) => ({
  ...one,
  values: valuesOf(input),
});
