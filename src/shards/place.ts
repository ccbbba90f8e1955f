import { type ResidueClass } from '../fence/residue';
import { type Shard } from './shard';

/** A database of the map, that may not be open. */
export interface Place {
  readonly name: string;
  readonly class: ResidueClass;
  readonly open: () => Promise<Shard>;
}
