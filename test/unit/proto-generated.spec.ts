import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScalarType, type DescField } from '@bufbuild/protobuf';
import { file_payments_v1_events } from '../../src/protobuf/generated/payments/v1/events_pb';
import { file_payments_v1_outbox } from '../../src/protobuf/generated/payments/v1/outbox_pb';

const root = join(__dirname, '../..');
const generated = 'src/protobuf/generated';
const buf = (...args: string[]) => execFileSync(join(root, 'node_modules/.bin/buf'), args, { cwd: root });

const contents = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length), readFileSync(path, 'utf8')]),
  );

test('the generated code is what the definitions give (else: npm run proto:generate)', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'proto-'));
  try {
    buf('generate', '--output', scratch);
    expect(contents(join(root, generated))).toEqual(contents(join(scratch, generated)));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test('the definitions keep to the style rules of buf', () => {
  expect(() => buf('lint')).not.toThrow();
});

test('no field changes its number or type: what is stored stays readable', () => {
  const type = (field: DescField) => {
    if (field.fieldKind === 'scalar') return ScalarType[field.scalar].toLowerCase();
    if (field.fieldKind === 'map') return 'map';
    return (field.enum ?? field.message)!.name;
  };
  const messages = [file_payments_v1_events, file_payments_v1_outbox].flatMap((file) => file.messages);
  const layout = messages.map(
    ({ typeName, fields }) => `${typeName}: ${fields.map((f) => `${f.number} ${f.name} ${type(f)}`).join('; ')}`,
  );
  expect(layout).toEqual([
    'payments.v1.AuthRequestCreated: 1 auth_request_id string; 2 payment_token string; 3 restaurant_id string; 4 amount_cents int64; 5 currency string; 6 metadata map; 7 created_at int64',
    'payments.v1.AuthAttemptStarted: 1 auth_request_id string; 2 worker_id string; 3 restaurant_payment_config_version string; 4 started_at int64',
    'payments.v1.AuthResponseReceived: 1 auth_request_id string; 2 status AuthStatus; 3 result AuthorizationResult; 4 received_at int64',
    'payments.v1.AuthorizationResult: 1 processor_auth_id string; 2 processor_name string; 3 authorized_amount_cents int64; 4 currency string; 5 authorization_code string; 6 authorized_at int64; 7 denial_code string; 8 denial_reason string; 9 processor_metadata map; 10 hold_expires_at int64',
    'payments.v1.AuthAttemptFailed: 1 auth_request_id string; 2 error_code string; 3 error_message string; 4 is_retryable bool; 5 retry_count int32; 6 next_retry_at int64; 7 failed_at int64',
    'payments.v1.AuthVoidRequested: 1 auth_request_id string; 2 reason string; 3 requested_at int64',
    'payments.v1.AuthRequestExpired: 1 auth_request_id string; 2 expired_at int64; 3 reason string',
    'payments.v1.AuthHoldReported: 1 auth_request_id string; 2 processor_name string; 3 processor_auth_id string; 4 amount_cents int64; 5 currency string; 6 authorized_at int64; 7 hold_expires_at int64; 8 source string; 9 source_event_id string; 10 reported_at int64',
    'payments.v1.AuthHoldEnded: 1 auth_request_id string; 2 processor_name string; 3 processor_auth_id string; 4 end HoldEnd; 5 amount_cents int64; 6 currency string; 7 source string; 8 source_event_id string; 9 ended_at int64; 10 reported_at int64; 11 reason string',
    'payments.v1.AuthVoidCompleted: 1 auth_request_id string; 2 processor_name string; 3 processor_auth_id string; 4 completed_at int64',
    'payments.v1.AuthVoidFailed: 1 auth_request_id string; 2 processor_name string; 3 processor_auth_id string; 4 error_code string; 5 error_message string; 6 is_retryable bool; 7 failure_count int32; 8 next_attempt_at int64; 9 failed_at int64',
    'payments.v1.AuthVoidRequeued: 1 auth_request_id string; 2 processor_name string; 3 processor_auth_id string; 4 by string; 5 reason string; 6 requeued_at int64',
    'payments.v1.AuthRequestQueuedMessage: 1 auth_request_id string; 2 restaurant_id string; 3 created_at int64',
    'payments.v1.VoidRequestQueuedMessage: 1 auth_request_id string; 2 restaurant_id string; 3 reason string; 4 created_at int64; 5 processor_name string; 6 processor_auth_id string; 7 amount_cents int64; 8 currency string',
  ]);
  expect(file_payments_v1_events.enums.flatMap((e) => e.values.map((v) => `${v.number} ${v.name}`))).toEqual([
    '0 AUTH_STATUS_UNSPECIFIED',
    '1 AUTH_STATUS_PENDING',
    '2 AUTH_STATUS_PROCESSING',
    '3 AUTH_STATUS_AUTHORIZED',
    '4 AUTH_STATUS_DENIED',
    '5 AUTH_STATUS_FAILED',
    '6 AUTH_STATUS_VOIDED',
    '7 AUTH_STATUS_EXPIRED',
    '0 HOLD_END_UNSPECIFIED',
    '1 HOLD_END_CAPTURED',
    '2 HOLD_END_VOIDED',
    '3 HOLD_END_LAPSED',
  ]);
});
