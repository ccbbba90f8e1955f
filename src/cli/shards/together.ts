import { classInWords } from '../../fence/residue';
import { type ExitCode } from '../exit-codes';
import { log } from '../json-log';
import { type ShardRun } from './over-shards';
import { named, passingSignals, startAt, worst } from './shard-process';

/**
 * Runs a command that goes on until it is told, at all databases at once. One that ends by itself, as where its database is
 * away when it starts, is told, and does not stop the others; who wants it to be started again runs it by itself, with
 * `--shard`. SIGTERM and SIGINT are passed on, and all are waited for.
 *
 * @returns the worst exit code, once all have ended
 */
export async function together(runs: readonly ShardRun[]): Promise<ExitCode> {
  const children = runs.map((run) => ({ run, child: startAt(run, linesOf(run.shard.name)) }));
  const passOn = (signal: NodeJS.Signals) => children.forEach(({ child }) => child.kill(signal));
  return await passingSignals(passOn, async () => {
    const codes = children.map(async ({ run: { shard }, child }) => {
      const exitCode = await child.ended;
      log('ended', { shard: shard.name, restaurants: classInWords(shard), exitCode });
      return exitCode;
    });
    return worst(await Promise.all(codes));
  });
}

const linesOf = (shard: string) => ({
  out: (line: string) => console.log(named(shard, line)),
  err: (line: string) => console.error(line.startsWith('{') ? named(shard, line) : `${shard}: ${line}`),
});
