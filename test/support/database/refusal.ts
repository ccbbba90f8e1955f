import { QueryFailedError } from 'typeorm';

/** What the database said when it refused a statement. */
export interface Refusal {
  code?: string;
  constraint?: string;
  message: string;
}

/** Waits for a statement to be refused and gives the reason, whether pg or TypeORM brings it; fails where it is accepted. */
export async function refusal(statement: Promise<unknown>): Promise<Refusal> {
  const error = await statement.then(
    () => new Error('The database accepted it.'),
    (reason: unknown) => (reason instanceof QueryFailedError ? reason.driverError : reason) as Error & Refusal,
  );
  return {
    message: error.message,
    ...('code' in error && { code: error.code }),
    ...('constraint' in error && { constraint: error.constraint }),
  };
}
