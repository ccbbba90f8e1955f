import { join } from 'node:path';

/** Of the package, where `npm run` starts; what runs is compiled to another folder. */
export const ROOT = process.cwd();
export const BENCH = join(ROOT, 'bench');
