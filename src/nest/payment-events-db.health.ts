import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { Holds } from '../auth-requests/holds/holds';
import { translateError } from '../database/translate-error';
import { PaymentEventsDbError } from '../errors';
import { assertNonePending, readHistory } from '../migrator/history';
import { Outbox } from '../outbox/outbox';
import { LONGEST_AGE_MS, WholeNumber } from '../validation/rules';
import { validateOptions } from '../validation/validate-options';

/** What terminus takes from a health indicator: under the key that was given, the status and what was seen. */
export type HealthResult<Key extends string> = Record<
  Key,
  { readonly status: 'up' | 'down' } & Record<string, unknown>
>;

/** From when on the outbox is down. */
export class OutboxHealthOptions {
  /** The oldest message that could have gone out has waited for longer, in milliseconds: 0 to a hundred years. Default 60,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  maxAgeMs?: number;

  /** There are more dead letters: 0 to 10,000. Default 0. */
  @IsOptional()
  @WholeNumber(0, 10_000)
  maxFailed?: number;
}

/** From when on the holds are down. */
export class HoldsHealthOptions {
  /** A hold that should be gone has stood for longer, in milliseconds: 0 to a hundred years. Default 21,600,000 (6 hours). */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  maxOpenAgeMs?: number;

  /** More holds wait for a person: 0 to 1,000,000. Default 0. */
  @IsOptional()
  @WholeNumber(0, 1_000_000)
  maxForAPerson?: number;
}

/**
 * Health indicators for `@nestjs/terminus`, of versions 11 and 12. Each looks once. Where that refuses or cannot
 * be reached they are down, with the `code` and the `message` of the error.
 *
 * For a readiness probe are `database` and `migrations`. Outbox and holds are the same for every process, and no restart repairs
 * them: have them watched, and no pod taken away for them.
 *
 * @example
 * await healthCheckService.check([() => health.database('database'), () => health.outbox('outbox', { maxAgeMs: 300_000 })]);
 */
export class PaymentEventsDbHealth {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /** Whether the database answers. */
  async database<Key extends string>(key: Key): Promise<HealthResult<Key>> {
    return await indicate(key, async () => {
      await this.#dataSource.query('SELECT 1');
      return { isUp: true };
    });
  }

  /** Whether it has all the migrations of this version, and none half applied. */
  async migrations<Key extends string>(key: Key): Promise<HealthResult<Key>> {
    return await indicate(key, async () => {
      assertNonePending(await readHistory(this.#dataSource));
      return { isUp: true };
    });
  }

  /**
   * Whether the outbox is delivered. For users that may call `Outbox.stats`.
   *
   * @throws InvalidCommandError
   */
  async outbox<Key extends string>(key: Key, options?: OutboxHealthOptions): Promise<HealthResult<Key>> {
    const { maxAgeMs = 60_000, maxFailed = 0 } = validateOptions({ OutboxHealthOptions }, options);
    return await indicate(key, async () => {
      const { oldestPendingAgeMs, pending, failed } = await new Outbox(this.#dataSource).stats();
      return {
        isUp: (oldestPendingAgeMs ?? 0) <= maxAgeMs && failed <= maxFailed,
        details: { oldestPendingAgeMs, pending, failed },
      };
    });
  }

  /**
   * Whether holds that nobody needs go away, and none waits for a person.
   *
   * @throws InvalidCommandError
   */
  async holds<Key extends string>(key: Key, options?: HoldsHealthOptions): Promise<HealthResult<Key>> {
    const { maxOpenAgeMs = 6 * 3_600_000, maxForAPerson = 0 } = validateOptions({ HoldsHealthOptions }, options);
    return await indicate(key, async () => {
      const { oldestOpenAgeMs, forAPerson } = await new Holds(this.#dataSource).stats();
      const waiting = Object.values(forAPerson).reduce((sum, count) => sum + count, 0);
      return {
        isUp: (oldestOpenAgeMs ?? 0) <= maxOpenAgeMs && waiting <= maxForAPerson,
        details: { oldestOpenAgeMs, forAPerson },
      };
    });
  }
}

/** In the form of terminus' HealthIndicatorService, which nobody needs to have installed for it. */
export async function indicate<Key extends string>(
  key: Key,
  look: () => Promise<{ isUp: boolean; details?: object }>,
): Promise<HealthResult<Key>> {
  const toResult = (isUp: boolean, details?: object) =>
    ({ [key]: { ...details, status: isUp ? 'up' : 'down' } }) as HealthResult<Key>;
  try {
    const { isUp, details } = await look();
    return toResult(isUp, details);
  } catch (error) {
    const translated = translateError(error);
    if (!(translated instanceof PaymentEventsDbError)) throw error;
    return toResult(false, { code: translated.code, message: translated.message });
  }
}
