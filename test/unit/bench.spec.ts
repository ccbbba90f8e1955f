import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { at, type Bar, best, type Comparison, type Contestant } from '../../bench/contestant';
import { serverMicros } from '../../bench/lab/server-cpu';
import { Histogram } from '../../bench/measure/histogram';
import { type Load } from '../../bench/measure/load';
import { drive } from '../../bench/measure/loops';
import { measureInRounds } from '../../bench/measure/rounds';
import { type Sample, toSample } from '../../bench/measure/sample';
import { ratios, spread } from '../../bench/measure/statistics';
import { evaluate, judge, passed } from '../../bench/results';

const unknown = () => undefined;

test('samples come to their median and their ends, odd or even in number', () => {
  expect(spread([10, 9, 100])).toEqual({ median: 10, min: 9, max: 100 });
  expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(() => spread([])).toThrow(RangeError);
});

test('a ratio is taken within a round', () => {
  expect(ratios([10, 1], [5, 0.5])).toEqual([2, 2]);
});

describe('latencies', () => {
  test('are told within one part in a hundred, from a microsecond to minutes', () => {
    for (const scale of [0.001, 1, 500]) {
      const latencies = new Histogram();
      for (let n = 1; n <= 1_000; n++) latencies.record(n * scale);
      for (const part of [0.5, 0.99, 1]) {
        const error = latencies.quantile(part) / (1_000 * part * scale) - 1;
        expect(Math.abs(error)).toBeLessThan(0.0101);
      }
    }
  });

  test('of two turns are those of both', () => {
    const [fast, slow] = [new Histogram(), new Histogram()];
    for (let n = 0; n < 98; n++) fast.record(1);
    for (let n = 0; n < 2; n++) slow.record(100);
    const turn = (latencies: Histogram, operations: number) => ({ operations, elapsedMs: 500, latencies });
    const sample = toSample([turn(fast, 98), turn(slow, 2)], { callers: 1 });
    expect(sample).toMatchObject({ operations: 100, perSecond: 100 });
    expect(sample.p50).toBeCloseTo(1, 1);
    expect(sample.p99! / 100).toBeCloseTo(1, 1);
  });

  test('that nobody has looked at are unknown', () => {
    const sample = toSample([{ operations: 1, elapsedMs: 1, latencies: new Histogram() }], { callers: 1 });
    expect(sample).toMatchObject({ p50: undefined, p99: undefined, clientMicros: undefined, serverMicros: undefined });
  });
});

describe('a closed loop', () => {
  test('keeps so many operations under way, and waits for the last', async () => {
    let [underWay, most, ended] = [0, 0, 0];
    const operate = async () => {
      most = Math.max(most, ++underWay);
      await delay(5);
      underWay--;
      ended++;
    };
    const { operations } = await drive(operate, { callers: 7 }, 0.05, unknown);
    expect({ most, underWay, operations }).toEqual({ most: 7, underWay: 0, operations: ended });
    expect(operations).toBeGreaterThan(7);
  });

  test('counts what an operation says it did, else one', async () => {
    expect(await drive(() => Promise.resolve(100), { callers: 1 }, 0, unknown)).toMatchObject({ operations: 100 });
    expect(await drive(() => Promise.resolve({}), { callers: 3 }, 0, unknown)).toMatchObject({ operations: 3 });
  });

  test('ends with the error of an operation, after all of them have ended', async () => {
    let [begun, ended] = [0, 0];
    const operate = async () => {
      const mine = ++begun;
      await delay(mine);
      ended++;
      if (mine === 2) throw new Error('refused');
    };
    await expect(drive(operate, { callers: 5 }, 600, unknown)).rejects.toThrow('refused');
    expect(ended).toBe(begun);
  });
});

describe('an open loop', () => {
  test('begins operations whether or not earlier ones have been answered', async () => {
    const answers: (() => void)[] = [];
    const driven = drive(() => new Promise<void>((answer) => answers.push(answer)), { offered: 400 }, 0.1, unknown);
    for (let waited = 0; answers.length < 40 && waited < 5_000; waited++) await delay(1);
    expect(answers).toHaveLength(40);
    for (const answer of answers) answer();
    expect(await driven).toMatchObject({ operations: 40 });
  });

  test('counts the time from when an operation was due, so that waiting for a slow one counts', async () => {
    // Each takes the whole process for 4 ms, and there is one a millisecond.
    const operate = () => {
      for (const end = performance.now() + 4; performance.now() < end;);
      return Promise.resolve();
    };
    const { latencies } = await drive(operate, { offered: 1_000 }, 0.1, unknown);
    expect(latencies.quantile(1)).toBeGreaterThan(200);
  });
});

describe('contestants', () => {
  const doing = (name: string, calls: string[], load: Load): Contestant => ({
    name,
    title: name,
    load,
    operate: async () => {
      calls.push(name);
      await delay(1);
    },
  });

  test('take turns within a round, so that what slows the machine slows all of them', async () => {
    const calls: string[] = [];
    const contestants = ['a', 'b'].map((name) => doing(name, calls, { callers: 1 }));
    const samples = await measureInRounds(
      contestants,
      { rounds: 2, seconds: 0.5, warmUps: 1, serverMicros: unknown },
      unknown,
    );
    expect(samples.map(({ length }) => length)).toEqual([2, 2]);
    const measured = calls.slice(-samples.flat().reduce((sum, { operations }) => sum + operations, 0));
    const turns = measured.filter((name, index) => name !== measured[index - 1]).length;
    expect(turns).toBeGreaterThanOrEqual(6);
  });

  test('that measure themselves are asked once a round', async () => {
    let runs = 0;
    const run = () => Promise.resolve({ operations: ++runs, elapsedMs: 1, latencies: new Histogram() });
    const contestant = { name: 'c', title: 'c', load: { callers: 1 }, run };
    const settings = { rounds: 3, seconds: 2, warmUps: 6, serverMicros: unknown };
    const [samples] = await measureInRounds([contestant], settings, unknown);
    expect(samples!.map(({ operations }) => operations)).toEqual([2, 3, 4]);
  });
});

describe('a bar', () => {
  const bar = { atLeast: 2, kind: 'required' } as const;
  const at2 = (median: number) => ({ median, min: median, max: median });

  test('is cleared at its height and missed below', () => {
    expect(judge(bar, '', at2(2)).cleared).toBe(true);
    expect(judge(bar, '', at2(1.99)).cleared).toBe(false);
  });

  test('of what is to be small is cleared at its height and missed above', () => {
    expect(judge({ atMost: 0.1, kind: 'required' }, '', at2(0.1)).cleared).toBe(true);
    expect(judge({ atMost: 0.1, kind: 'required' }, '', at2(0.11)).cleared).toBe(false);
  });

  test('that is missed fails the run, unless it is only reported', () => {
    expect(passed([{ bars: [judge(bar, '', at2(2))] }, { bars: [] }])).toBe(true);
    expect(passed([{ bars: [judge(bar, '', at2(2)), judge(bar, '', at2(1))] }])).toBe(false);
    expect(passed([{ bars: [judge({ ...bar, kind: 'reported' }, '', at2(1))] }])).toBe(true);
  });

  const measured: [name: string, load: Load, sample: Partial<Sample>][] = [
    ['ours', { callers: 4 }, { perSecond: 100, serverMicros: 5 }],
    ['ours', { callers: 64 }, { perSecond: 300, serverMicros: 2 }],
    ['theirs', { callers: 4 }, { perSecond: 50, serverMicros: 20 }],
    ['theirs', { callers: 64 }, { perSecond: 25, serverMicros: 40 }],
    ['open', { offered: 1_000 }, { perSecond: 980, offered: 1_000 }],
  ];
  const compare = (...bars: Bar[]) => {
    const comparison = { name: '', title: '', unit: '', reference: best('ours'), ours: ['ours'], bars } as const;
    const contestants = measured.map(([name, load]) => ({ name, title: name, load, operate: () => Promise.resolve() }));
    const samples = measured.map(([, , sample]) => [sample as Sample]);
    return evaluate(comparison satisfies Omit<Comparison, 'prepare'> as unknown as Comparison, contestants, samples);
  };
  const ratioOf = (each: Pick<Bar, 'of' | 'against'> & ({ atLeast: number } | { atMost: number })) =>
    compare({ ...each, kind: 'required' }).bars.map(({ title, ratio }) => [title, ratio.median]);

  test('compares sides under the callers that it names, or under those that a side does best with', () => {
    expect(ratioOf({ of: at(64, 'ours'), against: at(64, 'theirs'), atLeast: 1 })).toEqual([
      ['ours, 64 callers / theirs, 64 callers', 12],
    ]);
    expect(ratioOf({ of: at(4, 'ours'), against: best('theirs'), atLeast: 1 })).toEqual([
      ['ours, 4 callers / theirs, 4 callers', 2],
    ]);
  });

  test('on what the server spends compares that', () => {
    expect(ratioOf({ of: best('ours'), against: at(4, 'theirs'), atMost: 1 })).toEqual([
      ['ours, 64 callers / theirs, 4 callers', 0.1],
    ]);
  });

  test('on an open loop compares what was carried with what was offered', () => {
    expect(ratioOf({ of: best('open'), against: 'offered', atLeast: 1 })).toEqual([
      ['open, 1,000 a second offered / what was offered', 0.98],
    ]);
  });

  test('is left out where a side of it was not measured', () => {
    expect(ratioOf({ of: at(256, 'ours'), against: best('theirs'), atLeast: 1 })).toEqual([]);
    expect(ratioOf({ of: best('ours'), against: best('nobody'), atLeast: 1 })).toEqual([]);
    expect(ratioOf({ of: best('open'), against: best('ours'), atMost: 1 })).toEqual([]);
  });
});

test("the server's CPU time is that of all its processes, those that have ended among them", async () => {
  if (process.platform !== 'linux') {
    expect(serverMicros(process.pid)).toBeUndefined();
    return;
  }
  const before = serverMicros(process.pid)!;
  const busy = 'while (process.cpuUsage().user < 400_000); process.stdout.write("done"); process.stdin.resume()';
  const child = spawn(process.execPath, ['-e', busy], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [exited] = [
    new Promise((exit) => child.once('exit', exit)),
    await new Promise((done) => child.stdout.once('data', done)),
  ];
  const during = serverMicros(process.pid)!;
  child.stdin.end();
  await exited;
  expect(during - before).toBeGreaterThanOrEqual(400_000);
  expect(serverMicros(process.pid)!).toBeGreaterThanOrEqual(during);
});
