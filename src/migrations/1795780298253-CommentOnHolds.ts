import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { type CommentChanges, putComments, takeBackComments } from './helpers/comments';

/**
 * Says of auth_holds and everything on it, and of what the sweeper keeps in auth_request_state, what it is there for.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on those, in one transaction, for some milliseconds: it stops no reads or writes.
 * Services of the version before keep working. Re-runnable. A comment that an owner has written stays, up and down.
 * Down brings back the comments that were there before.
 */
export class CommentOnHolds1795780298253 implements MigrationInterface {
  name = 'CommentOnHolds1795780298253';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await putComments(queryRunner, COMMENTS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await takeBackComments(queryRunner, COMMENTS);
  }
}

/** As src/schema/comments.ts had them when this was written. */
const COMMENTS: CommentChanges = {
  auth_request_state: {
    'COLUMN auth_request_state.sweeps': 'How often the sweeper has sent its message again. Not decided by events.',
    'COLUMN auth_request_state.swept_at': 'When the sweeper last did.',
  },
  auth_holds: {
    'TABLE auth_holds':
      'One authorization that a processor has reported for one request, and where its money is. Written by the statement that writes the event which says so; the fold of the events.',
    'COLUMN auth_holds.auth_request_id': 'The request: auth_request_state.auth_request_id.',
    'COLUMN auth_holds.restaurant_id': 'The restaurant of the request.',
    'COLUMN auth_holds.processor_name': 'The processor that holds the money. Empty where a legacy service did not say.',
    'COLUMN auth_holds.processor_auth_id': "The processor's own id of the authorization.",
    'COLUMN auth_holds.amount_cents': "What was authorized, in the currency's minor unit; 0 where nobody has said.",
    'COLUMN auth_holds.currency': 'Of the amounts: three letters of ISO 4217.',
    'COLUMN auth_holds.config_version':
      'The configuration version that it was asked under, and is voided by. NULL where nobody knows: of a legacy service, or told by the processor alone.',
    'COLUMN auth_holds.authorized_at': "When it was authorized, by the processor's clock.",
    'COLUMN auth_holds.hold_expires_at': 'Until when the processor holds the money. NULL where it did not say.',
    'COLUMN auth_holds.state':
      'held, voiding (nobody needs it: a void is on its way), void_failed (a person has to see to it), or how it ended: voided, captured, lapsed.',
    'COLUMN auth_holds.state_since': 'Since when it is in this state. Set by the guard.',
    'COLUMN auth_holds.is_needed':
      'Its request may use it: it is open, or AUTHORIZED by this authorization. Once false, false for good.',
    'COLUMN auth_holds.is_answered':
      'A worker has recorded it. Until then the processor alone has told of it, and its amount may change.',
    'COLUMN auth_holds.ended_amount_cents': 'What was captured, voided or given up. NULL where nobody has said.',
    'COLUMN auth_holds.ended_by': 'Who has told how it ended: a worker, a source such as stripe, or a person.',
    'COLUMN auth_holds.closed_by':
      'The person who has seen to it, where it had to be seen to: it is on no list any more.',
    'COLUMN auth_holds.void_failures': 'Voids that have failed since a person last asked for one.',
    'COLUMN auth_holds.last_void_error': 'Error code of the last void that failed.',
    'COLUMN auth_holds.next_void_at': 'When the next void is due, after one that has failed.',
    'COLUMN auth_holds.sweeps': 'How often the sweeper has sent its void on its way again.',
    'COLUMN auth_holds.swept_at': 'When the sweeper last did.',
    'COLUMN auth_holds.first_event_sequence': 'Number of the event that told of it first.',
    'COLUMN auth_holds.last_event_sequence': 'Number of the last event about it. Every change of state comes with one.',
    'CONSTRAINT auth_holds_amount_not_negative ON auth_holds': 'Money that is held is not negative.',
    'CONSTRAINT auth_holds_last_event_fkey ON auth_holds':
      'No client can say where money is without an event that says so.',
    'CONSTRAINT auth_holds_pkey ON auth_holds':
      'An authorization of a request is there once, however often it is reported.',
    'CONSTRAINT auth_holds_state ON auth_holds': 'Readers know no other state.',
    'CONSTRAINT auth_holds_voiding_unneeded ON auth_holds': 'What a request may still use is never voided.',
    'INDEX idx_auth_holds_held': 'Finds what is about to lapse.',
    'INDEX idx_auth_holds_open':
      'Lists what nobody needs and may still stand: all that a worker or a person has to see to.',
    'INDEX idx_auth_holds_processor': "Finds requests by the processor's id, as webhooks name them.",
    'TRIGGER guard_auth_holds ON auth_holds':
      'Refuses a change without a newer event, a state that does not follow, and another amount than a worker has recorded. ENABLE ALWAYS.',
    'FUNCTION guard_auth_holds()':
      'Keeps what a hold is, allows only the changes of state that follow, each with a newer event, and sets state_since.',
  },
};
