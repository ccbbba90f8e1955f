import { PRIVILEGES, ROLES, WHOLE } from '../../src/grants/privileges';
import { COMMENTS } from '../../src/schema/comments';
import { madeBy, page, table } from './markdown';

const ORDER = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE'] as const;

const INTRODUCTION = `What \`npx payment-events-db grants\` gives each role; [why, and to whom](../how-to/least-privilege.md). A role has no
privilege that is not listed. \`all\` takes in the columns that later versions add. All four also have \`CONNECT\` on the
database and \`USAGE\` on its schema.`;

/** The page of privileges, by its path in docs/reference. */
export function privilegesReference(): Map<string, string> {
  const rows = ROLES.flatMap((role) =>
    Object.entries(PRIVILEGES[role])
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .flatMap(([on, grant]) =>
        ORDER.flatMap((privilege) => {
          const columns = grant[privilege];
          return columns ? [[role, on, privilege, columns === WHOLE ? 'all' : inOrder(on, columns)]] : [];
        }),
      ),
  );
  const parts = [madeBy('docs:privileges', 'src/grants/privileges.ts'), '# Privileges', INTRODUCTION];
  const list = ['## Every privilege', table(['role', 'on', 'privilege', 'columns'], rows)];
  return new Map([['privileges.md', page(...parts, ...list)]]);
}

/** Columns in the order of the table; those of the system come first. */
function inOrder(on: string, columns: readonly string[]): string {
  const { [on as keyof typeof COMMENTS.tables]: comments } = COMMENTS.tables;
  const order = Object.keys(comments?.columns ?? {});
  return columns.toSorted((one, other) => order.indexOf(one) - order.indexOf(other)).join(', ');
}
