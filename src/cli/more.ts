import { Option } from 'commander';
import pc from 'picocolors';

/** Where a list goes on. Each of several databases has a place of its own in it, so that it is for one of them. */
export const afterOption = (
  flags = '--after <place>',
  what = 'go on after this place, which a list says at its end',
): Option => new Option(flags, `${what}; not with --all`).conflicts('all');

/** Under a list that is as long as it may be. */
export const sayMore = (limit: number, place: string | bigint): void =>
  console.log(pc.dim(`At most ${limit} are listed. Those after them: --after ${place}`));
