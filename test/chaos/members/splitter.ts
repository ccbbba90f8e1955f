import 'reflect-metadata';
import '../../fixtures/relay/bound-to-test';
import { OutcomeUnknownError, PaymentEventsDbError } from '../../../src/errors';
import { translateError } from '../../../src/database/translate-error';
import { readShardMap, type ShardMap } from '../../../src/shards/shard-map';
import { shardMapFile } from '../../../src/shards/map-sources';
import { ShardSplit } from '../../../src/shards/split/shard-split';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { say } from '../journal';

const { SPLIT_SOURCE, SPLIT_TARGET, SPLIT_CLASS, SPLIT_NUMBER, SPLIT_MAP } = process.env;

/** Something that passes was in the way: the process is to be started again. */
export const PASSING = 3;

/** Splits a database, step by step, from wherever a process before it has left off; with a map it cleans up as well. */
async function main(): Promise<void> {
  const ends = [];
  for (const url of [SPLIT_SOURCE!, SPLIT_TARGET!]) ends.push(await quietDataSource({ url, poolSize: 3 }));
  const [source, target] = ends;
  const [modulus, remainder] = SPLIT_CLASS!.split(' ').map(Number);
  const split = new ShardSplit({
    ...{ source: source!, target: target!, shard: { modulus: modulus!, remainder: remainder! } },
    ...{ number: Number(SPLIT_NUMBER), say: () => undefined },
  });
  const steps: readonly [string, () => Promise<unknown>][] = SPLIT_MAP
    ? [['clean-up', async () => await split.cleanUp(await mapOf(SPLIT_MAP))]]
    : [
        ['prepare', () => split.prepare()],
        ['publish', () => split.publish()],
        ['subscribe', () => split.subscribe()],
        ['cut-over', () => split.cutOver()],
      ];
  for (const [name, step] of steps) {
    say({ met: `split: ${name}` });
    await step();
  }
  for (const end of ends) await end.destroy();
}

const mapOf = (file: string): Promise<ShardMap> => shardMapFile(file).load().then(readShardMap);

main().catch((error: unknown) => {
  const known = translateError(error);
  const passes = known instanceof PaymentEventsDbError && (known.retryable || known instanceof OutcomeUnknownError);
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(passes ? PASSING : 1);
});
