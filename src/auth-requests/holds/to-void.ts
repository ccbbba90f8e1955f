import { IsOptional } from 'class-validator';
import { orNull, text } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { repeatOnce } from '../../database/repeat';
import { type Session } from '../../database/session';
import { HoldNotFoundError, LockHeldError, LockLostError } from '../../errors';
import { HELD_LEASE, leaseColumns, leaseInput } from '../../locks/held-lease';
import { type LeaseRef } from '../../locks/lease';
import { releaseLease, takeLease, takenColumns } from '../../locks/lease-writes';
import { Text } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { type HoldState } from './states';
import { isStray } from './void-write';

/** Which hold a `void_request_queued` message is about. */
export class ToVoidCommand {
  /** `processorName` of the message. Default, as messages of earlier versions have it: the hold that the request names. */
  @IsOptional()
  @Text(0, 50)
  processorName?: string;

  /** `processorAuthId` of the message. Default: the one that the request names. */
  @IsOptional()
  @Text(0, 255)
  processorAuthId?: string;
}

/** A hold that the processor is to void. */
export interface HoldToVoid {
  /** Have the processor void it, then `recordVoided` or `recordVoidFailure`. */
  readonly outcome: 'void';
  readonly processorName: string;
  readonly processorAuthId: string;
  /** What is held, in the currency's minor unit; 0 where nobody has said. */
  readonly amountCents: number;
  readonly currency: string;
  /** The configuration version that it was authorized under; null where nobody knows: take the active one. */
  readonly configVersion: string | null;
  /** Voids of it that have failed since a person last asked for one. */
  readonly failures: number;
}

/** It is not to be voided, or not any more: acknowledge the message. */
export interface NothingToVoid {
  readonly outcome: 'nothing_to_do';
  readonly state: HoldState;
}

/** What a worker is to do about a hold. */
export type Voiding = HoldToVoid | NothingToVoid;

interface Row {
  held: boolean;
  processor_name: string | null;
  processor_auth_id: string;
  amount_cents: string;
  currency: string;
  config_version: string | null;
  void_failures: number;
  state: HoldState;
  is_to_void: boolean;
}

/** The hold that is meant, as the snapshot has it. */
const MEANT = `
      SELECT hold.processor_name, hold.processor_auth_id, hold.amount_cents, hold.currency, config_version, void_failures, state,
             state = 'voiding' OR ${isStray('request')} AS is_to_void
      FROM auth_request_state AS request JOIN input USING (auth_request_id, restaurant_id)
      JOIN auth_holds AS hold USING (auth_request_id)
      WHERE hold.processor_auth_id = coalesce(wanted_id, request.processor_auth_id, '')
        AND hold.processor_name IN (coalesce(wanted_name, request.processor_name, ''), '')
      ORDER BY hold.processor_name DESC LIMIT 1`;

const wantedColumns = { wanted_name: orNull(text), wanted_id: orNull(text) } as const;

/** A message of an earlier version has no name and no id: protobuf reads both as empty. */
const wantedInput = ({ processorName, processorAuthId }: ToVoidCommand) => ({
  wanted_name: processorAuthId ? (processorName ?? null) : null,
  wanted_id: processorAuthId || null,
});

/** Reads only: asking a processor twice for a void is harmless, and every write after it looks at the state again. */
const TO_VOID = operation({
  name: 'to_void',
  input: { ...leaseColumns, ...wantedColumns },
  output: rowsOf<Row>(),
  sql: `
    SELECT EXISTS (${HELD_LEASE}) AS held, hold.*
    FROM (SELECT) AS always LEFT JOIN (${MEANT}
    ) AS hold ON true`,
});

/** Takes the lease where there is something to void, by the same reading. */
const BEGIN_VOID = operation({
  name: 'begin_void',
  input: { ...takenColumns, ...wantedColumns },
  output: rowsOf<Row>(),
  sql: `
    WITH meant AS MATERIALIZED (${MEANT}
    ), lease AS (${takeLease('EXISTS (SELECT FROM meant WHERE is_to_void)')}
    )
    SELECT EXISTS (SELECT FROM lease) AS held, meant.* FROM meant`,
});

export async function toVoid(session: Session, lease: LeaseRef, input: ToVoidCommand): Promise<Voiding> {
  const command = validateCommand({ ToVoidCommand }, input);
  const row = await session.row(TO_VOID, { ...leaseInput(lease), ...wantedInput(command) });
  if (!row!.held) throw new LockLostError(lease.authRequestId);
  return toVoiding(command, row);
}

/**
 * Takes a lease that nobody else has had, where there is something to void.
 *
 * @throws LockHeldError, HoldNotFoundError
 */
export async function beginVoid(
  session: Session,
  lease: LeaseRef,
  command: ToVoidCommand & { readonly ttlMs: number },
): Promise<Voiding> {
  const begin = { ...leaseInput(lease), ...wantedInput(command), ttl_ms: command.ttlMs };
  let runs = 0;
  const row = await repeatOnce(() => {
    runs++;
    return session.row(BEGIN_VOID, begin);
  });
  // A first run whose answer was lost may have taken the lease.
  if (runs > 1 && !row?.is_to_void) await releaseLease(session, lease);
  if (row?.is_to_void && !row.held) throw new LockHeldError(lease.authRequestId);
  return toVoiding(command, row);
}

function toVoiding({ processorName = '', processorAuthId = '' }: ToVoidCommand, row: Row | undefined): Voiding {
  if (!row || row.processor_name === null) throw new HoldNotFoundError(processorName, processorAuthId);
  if (!row.is_to_void) return { outcome: 'nothing_to_do', state: row.state };
  return {
    outcome: 'void',
    processorName: row.processor_name,
    processorAuthId: row.processor_auth_id,
    amountCents: Number(row.amount_cents),
    currency: row.currency,
    configVersion: row.config_version,
    failures: row.void_failures,
  };
}
