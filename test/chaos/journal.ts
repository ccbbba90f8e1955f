import { writeSync } from 'node:fs';
import { type HoldState } from '../../src/auth-requests/holds/states';
import { type AuthRequestStatus } from '../../src/auth-requests/statuses';

/** What was confirmed to a process, or befell it: a line of JSON on its standard output. */
export type Entry =
  | { readonly ready: string }
  | { readonly did: 'authorize'; readonly key: string; readonly authRequestId: string; readonly replayed: boolean }
  | {
      readonly did: 'void' | 'start' | 'authorized' | 'denied' | 'failed' | 'expire';
      readonly authRequestId: string;
      /** The request's, as it was told. */
      readonly status: AuthRequestStatus;
      /** What it came to, such as `settle`: for the summary. */
      readonly how?: string;
      /** Of the event that was written; not there where somebody else had written it before. */
      readonly correlationId?: string;
      /** The processor's, where it said yes. */
      readonly processorAuthId?: string;
    }
  | {
      readonly did: 'void a hold' | 'fail to void' | 'report';
      readonly authRequestId: string;
      readonly processorAuthId: string;
      /** The hold's, as it was told. */
      readonly holdState: HoldState;
      readonly how?: string;
      readonly correlationId?: string;
    }
  /** Something that passes. */
  | { readonly met: string }
  /** Something that must not be. */
  | { readonly fault: string };

/** Written at once: what a process was told it has said, also where it is killed next. */
export function say(entry: Entry): void {
  writeSync(1, `${JSON.stringify(entry)}\n`);
}
