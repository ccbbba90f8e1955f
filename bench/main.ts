import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Comparison } from './contestant';
import { Lab, SERVER_SETTINGS } from './lab/lab';
import { measureInRounds, type Rounds } from './measure/rounds';
import { ROOT } from './paths';
import { HELP, type Options, readOptions, UsageError } from './options';
import { chartOf, writeMeasurements } from './report/markdown';
import { asSvg } from './report/svg';
import { asText } from './report/text';
import { type ComparisonResult, describeMachine, evaluate, passed, type Results } from './results';
import { runScale } from './scale/run-scale';

const DOCUMENT = join(ROOT, 'docs', 'explanation', 'performance.md');

/** Progress goes to standard error, results to standard output. */
const notice = (text: string) => void process.stderr.write(`${text}\n`);

async function main(args: string[]): Promise<number> {
  const options = readOptions(args);
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.scale) return await runScale(options.scale, notice);
  const results = await run(options);
  mkdirSync(options.output, { recursive: true });
  writeFileSync(join(options.output, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(join(options.output, 'chart.svg'), asSvg(results));
  if (options.docs) {
    writeMeasurements(DOCUMENT, options.docs, results);
    writeFileSync(join(dirname(DOCUMENT), chartOf(options.docs)), asSvg(results));
  }
  process.stdout.write(`${options.json ? JSON.stringify(results) : asText(results)}\n`);
  return results.passed || !options.check ? 0 : 1;
}

async function run({ comparisons, rounds, warmUps, ...settings }: Options): Promise<Results> {
  const start = new Date();
  const { seconds, connections, callers } = settings;
  const lab = await Lab.open({ ...settings, notice });
  try {
    const server = await lab.describeServer();
    const compared: ComparisonResult[] = [];
    for (const comparison of comparisons) {
      compared.push(await compare(comparison, lab, { rounds, warmUps }));
      await lab.endComparison();
    }
    return {
      startedAt: start.toISOString(),
      seconds: Math.round((Date.now() - start.getTime()) / 1000),
      conditions: {
        ...server,
        ...describeMachine(),
        serverSettings: SERVER_SETTINGS,
        connections,
        callers,
        rounds,
        secondsPerSample: seconds,
      },
      comparisons: compared,
      passed: passed(compared),
    };
  } finally {
    await lab.close();
  }
}

async function compare(
  comparison: Comparison,
  lab: Lab,
  counts: Pick<Rounds, 'rounds' | 'warmUps'>,
): Promise<ComparisonResult> {
  notice(comparison.title);
  const contestants = await comparison.prepare(lab);
  const seconds = Math.min(lab.settings.seconds, comparison.seconds ?? Infinity);
  const rounds = { ...counts, seconds, serverMicros: lab.serverMicros };
  const samples = await measureInRounds(contestants, rounds, (text) => notice(`  ${text}`));
  return evaluate(comparison, contestants, samples);
}

main(process.argv.slice(2)).then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error: unknown) => {
    process.stderr.write(
      error instanceof UsageError ? `${error.message}\n\n${HELP}` : `${String((error as Error).stack)}\n`,
    );
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);
