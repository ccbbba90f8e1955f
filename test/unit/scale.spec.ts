import { DEFAULT_ASSUMPTIONS, readAssumptions } from '../../bench/scale/assumptions';
import { capacityOf, costOfRequest, DATABASES } from '../../bench/scale/capacity';
import { OPERATIONS } from '../../bench/scale/operations';
import { agreements, ARMS, type Cost, type Costs, type ScaleResults } from '../../bench/scale/results';

const cost = (micros: number, walBytes = 0, bytes: Cost['bytes'] = {}): Cost => ({
  serverMicros: micros,
  clientMicros: micros / 2,
  walBytes,
  bytes,
  rounds: [micros],
});

const costs: Costs = {
  authorize: cost(100, 1_000, { payment_events: 300, auth_idempotency_keys: 200 }),
  relay: cost(10, 100, { outbox: 100 }),
  cycle: cost(600, 2_000, { payment_events: 700, auth_processing_locks: 9 }),
  get: cost(20),
  void: cost(400, 3_000, { payment_events: 500, outbox: 50 }),
};

const assumed = readAssumptions(
  'cores=10,busy=0.5,cycles=1,voids=0.5,looks=4,peakToMean=2,walMBs=100,imagesPerRequest=1,imageBytes=5450,' +
    'busyNode=0.5,pool=4,connections=100,storageTB=2,fullAt=0.5,keysHours=24,messagesDays=2,copyMBs=50,failures=0.5,failoverSeconds=60',
);

describe('what a request needs', () => {
  test('is each operation as often as it is assumed to take place', () => {
    // 100 + 600 + 1.5 × 10 + 4 × 20 + 0.5 × 400
    expect(costOfRequest(costs, assumed)).toEqual({
      serverMicros: 995,
      clientMicros: 497.5,
      walBytes: 1_000 + 2_000 + 150 + 1_500 + 5_450,
      keptBytes: 300 + 700 + 250,
      keyBytes: 200,
      messageBytes: 150 + 25,
    });
  });

  test('is less on faster cores', () => {
    const { serverMicros, clientMicros } = costOfRequest(costs, { ...assumed, speed: 2 });
    expect([serverMicros, clientMicros]).toEqual([497.5, 248.75]);
  });
});

describe('what databases carry', () => {
  const one = capacityOf(1, costs, assumed);

  test('is as much as the CPU, or the disk of the WAL, lets one do', () => {
    expect(one.perSecond).toBeCloseTo((10 * 0.5 * 1e6) / 995);
    expect(one.limit).toBe('CPU');
    const slow = capacityOf(1, costs, { ...assumed, walMBs: 10.1 });
    expect(slow.perSecond).toBeCloseTo(10.1e6 / 10_100);
    expect(slow.limit).toBe('WAL');
  });

  test('is that of one, times their number', () => {
    for (const databases of DATABASES) {
      const { perSecond, terabytesAYear, passingTerabytes, failuresAYear, stopped } = capacityOf(
        databases,
        costs,
        assumed,
      );
      expect(perSecond / one.perSecond).toBeCloseTo(databases);
      expect(terabytesAYear / one.terabytesAYear).toBeCloseTo(databases);
      expect(passingTerabytes / one.passingTerabytes).toBeCloseTo(databases);
      expect(failuresAYear).toBe(databases * 0.5);
      expect(stopped).toBe(1 / databases);
    }
    expect(DATABASES).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]);
  });

  test('grows by what stays, at the mean rate; what is purged is there once', () => {
    const mean = one.perSecond / 2;
    expect(one.terabytesAYear).toBeCloseTo((mean * 1_250 * 365.25 * 86_400) / 1e12);
    expect(one.passingTerabytes).toBeCloseTo((mean * (200 * 86_400 + 175 * 2 * 86_400)) / 1e12);
    expect(one.monthsUntilFull).toBeCloseTo(((1 - one.passingTerabytes) / one.terabytesAYear) * 12);
  });

  test('is stopped in part by a failure, for as long in a year as with one', () => {
    expect(one.secondsStoppedAYear).toBe(30);
    expect(capacityOf(64, costs, assumed).secondsStoppedAYear).toBe(30);
  });

  test('takes the time of its copy to split: half of what is there when it is full', () => {
    expect(one.splitHours).toBeCloseTo(0.5e12 / 50e6 / 3_600);
  });

  test('runs into the connections of a server where every process talks to every database', () => {
    // 5,025 a second × 497.5 µs / 0.5: five processes, and five for each further database.
    expect([one.processes, one.connections, one.databasesOfProcess]).toEqual([5, 20, 1]);
    const many = capacityOf(16, costs, assumed);
    expect([many.processes, many.connections, many.databasesOfProcess]).toEqual([80, 320, 5]);
  });
});

describe('four databases and one', () => {
  const results = (change: (arm: (typeof ARMS)[number]) => Partial<Cost>): Pick<ScaleResults, 'costs'> => ({
    costs: Object.fromEntries(
      ARMS.map((arm) => [
        arm,
        Object.fromEntries(OPERATIONS.map((operation) => [operation, { ...costs[operation], ...change(arm) }])),
      ]),
    ) as unknown as ScaleResults['costs'],
  });
  const failing = (change: Parameters<typeof results>[0]) =>
    agreements(results(change))
      .filter(({ agrees }) => !agrees)
      .map(({ operation, quantity }) => `${operation} ${quantity}`);

  test('agree where they need the same', () => {
    expect(failing(() => ({}))).toEqual([]);
  });

  test.each([
    ['more', 1.12],
    ['less', 0.88],
  ])('do not where four need %s by more than a tenth', (_, factor) => {
    const rounds = (arm: string) => ({ rounds: [100 * (arm === 'four' ? factor : 1)] });
    expect(failing(rounds)).toEqual(OPERATIONS.map((operation) => `${operation} serverMicros`));
    const wal = (arm: string) => ({ walBytes: 1_000 * (arm === 'four' ? factor : 1) });
    expect(failing(wal)).toEqual(OPERATIONS.map((operation) => `${operation} walBytes`));
    const bytes = (arm: string) => ({ bytes: { outbox: 1_000 * (arm === 'four' ? factor : 1) } });
    expect(failing(bytes)).toEqual(OPERATIONS.map((operation) => `${operation} bytes`));
  });

  test('are compared by their medians: what falls into a round does not count', () => {
    const rounds = (arm: string) => ({ rounds: arm === 'four' ? [210, 100, 900] : [100, 200, 300] });
    expect(failing(rounds)).toEqual([]);
    const [first] = agreements(results(rounds));
    expect(first!.ratio).toEqual({ median: 1.05, min: 0.5, max: 3 });
  });

  test('do not where the system tells no CPU time', () => {
    expect(failing(() => ({ rounds: [NaN] }))).toEqual([
      ...OPERATIONS.map((operation) => `${operation} serverMicros`),
      'authorize fence',
    ]);
  });

  test('a fence may cost a tenth of what it takes to accept a request', () => {
    const without = (micros: number) => (arm: string) => ({ rounds: [arm === 'unfenced' ? micros : 100] });
    expect(failing(without(92))).toEqual([]);
    expect(failing(without(90))).toEqual(['authorize fence']);
  });
});

describe('assumptions', () => {
  test('are taken by name, the others stay', () => {
    expect(readAssumptions('')).toEqual(DEFAULT_ASSUMPTIONS);
    expect(readAssumptions('cores=32,busy=0.6')).toEqual({ ...DEFAULT_ASSUMPTIONS, cores: 32, busy: 0.6 });
  });

  test.each([
    ['kores=3', 'there is no assumption "kores", only cores, speed, '],
    ['cores', 'cores must be a number above 0'],
    ['cores=0', 'cores must be a number above 0'],
    ['cores=many', 'cores must be a number above 0'],
  ])('%s is refused', (text, message) => {
    expect(() => readAssumptions(text)).toThrow(message);
  });
});
