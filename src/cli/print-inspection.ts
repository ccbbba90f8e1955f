import pc from 'picocolors';
import { disarm } from '../database/disarm';
import { type InspectedMessage, type Inspection, type NotShown } from '../inspection/inspection';
import { printDifferences } from './print-differences';
import { inCell, printTable } from './print-table';

/** Prints an inspection for a person, what to do next last. Every text is disarmed. */
export function printInspection(inspection: Inspection): void {
  const { authRequestId, request, at } = inspection;
  console.log(`${pc.bold(authRequestId)}  ${request?.status ?? pc.red('no row')}  ${pc.dim(`at ${inCell(at)}`)}`);
  printRow(inspection);
  printEvents(inspection);
  printAttempts(inspection);
  printHolds(inspection);
  printMessages(inspection);
  printKeys(inspection);
  printLease(inspection);
  printDifference(inspection);
  if (inspection.notShown.length > 0) {
    heading('Not shown');
    for (const { part, because } of inspection.notShown) console.log(`  ${part}: ${REASONS[because]}`);
  }
  heading('What to do next');
  for (const step of inspection.next) console.log(`  ${disarm(step)}`);
}

const REASONS: Record<NotShown['because'], string> = {
  privilege: 'this user must not read them',
  timeout: 'searching for them took too long',
};

const heading = (text: string) => console.log(`\n${pc.bold(text)}`);

function printRow({ restaurantId, request }: Inspection): void {
  const lines: [string, string | number | Date | null | undefined][] = [['restaurant', restaurantId]];
  if (request) {
    const { amountCents, authorizedAmountCents: granted, currency } = request;
    const denial = [request.denialCode, request.denialReason].filter(Boolean).join(' ');
    lines.push(
      ['asked for', `${amountCents} ${currency}, in its minor unit`],
      ['authorized', granted === null ? null : `${granted} ${currency}`],
      ['processor', request.processorName],
      ['processor’s id', request.processorAuthId],
      ['authorization code', request.authorizationCode],
      ['denial', denial || null],
      ['retries', request.retryCount],
      ['created', request.createdAt],
      ['changed', request.updatedAt],
      ['settled', request.completedAt],
    );
  }
  for (const [name, value] of lines) console.log(`  ${name.padEnd(18)}  ${inCell(value)}`);
}

function printEvents({ events }: Inspection): void {
  heading('Events');
  if (events.length === 0) return console.log('  none');
  printTable(
    ['#', 'at', 'type', 'what happened', 'status', 'worker', 'correlation', 'causation'],
    events.map((event) => [
      event.sequenceNumber,
      event.createdAt,
      event.type,
      event.says,
      event.statusAfter,
      event.workerId,
      event.correlationId,
      event.causationId,
    ]),
  );
}

function printAttempts({ request, events, canBeAsked }: Inspection): void {
  heading('Attempts');
  const begun = events.filter(({ type }) => type === 'AuthAttemptStarted').length;
  if (!request?.attemptOpen) return console.log(`  ${begun} begun, none open`);
  const versions = request.unansweredVersions.map((version) => version || 'none (a legacy service)').join(', ');
  console.log(`  ${begun} begun; open: under configuration version ${disarm(versions)}`);
  console.log(
    `  since ${inCell(request.unansweredSince)}; ${canBeAsked ? 'the processor can be asked' : 'nobody can be asked'}`,
  );
}

function printHolds({ holds }: Inspection): void {
  heading('Holds');
  if (holds.length === 0) return console.log('  none');
  printTable(
    [
      'processor',
      'processor’s id',
      'state',
      'amount',
      'since',
      'needed',
      'lapses',
      'ended',
      'by',
      'voids failed',
      'last error',
    ],
    holds.map((hold) => [
      ...[hold.processorName || null, hold.processorAuthId, hold.state, `${hold.amountCents} ${hold.currency}`],
      ...[hold.stateSince, hold.isNeeded ? 'yes' : 'no', hold.holdExpiresAt, hold.endedAmountCents],
      ...[hold.closedBy ?? hold.endedBy, hold.voidFailures, hold.lastVoidError],
    ]),
  );
}

function printMessages({ messages }: Inspection): void {
  if (!messages) return;
  heading('Messages in the outbox');
  if (messages.length === 0) return console.log('  none');
  printTable(
    ['id', 'type', 'state', 'attempts', 'created', 'next attempt', 'ended', 'last error or reason'],
    messages.map((message) => [
      message.id,
      message.messageType,
      stateOf(message),
      message.attempts,
      message.createdAt,
      message.nextAttemptAt,
      message.endedAt,
      message.discardedBy === null ? message.lastError : `${message.discardedBy}: ${message.discardReason}`,
    ]),
  );
}

const stateOf = ({ state, behind }: InspectedMessage) =>
  `${state.replace('_', ' ')}${behind === null ? '' : ` behind ${behind}`}`;

function printKeys({ keys }: Inspection): void {
  if (!keys) return;
  heading('Idempotency keys');
  if (keys.length === 0) return console.log('  none');
  printTable(
    ['key', 'operation', 'outcome', 'created', 'expires'],
    keys.map((key) => [
      key.beginning === null ? '(not shown)' : `${key.beginning}…`,
      key.operation,
      key.outcome,
      key.createdAt,
      key.expiresAt,
    ]),
  );
}

function printLease({ lease }: Inspection): void {
  heading('Lease');
  if (!lease) return console.log('  none');
  console.log(
    `  worker ${disarm(lease.workerId)}, ${lease.held ? 'held until' : 'expired at'} ${inCell(lease.expiresAt)}`,
  );
}

function printDifference({ difference }: Inspection): void {
  if (!difference) return;
  heading('What differs from its events');
  if (difference.kind !== 'events_unfoldable') {
    return printDifferences(difference.differences, ['in the row', 'by its events']);
  }
  console.log(
    `  its events do not tell: ${difference.reason.replaceAll('_', ' ')}, event ${difference.sequenceNumber}`,
  );
}
