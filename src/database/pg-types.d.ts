/** Without types of its own. */
declare module 'pg-types/lib/textParsers' {
  export function init(register: (oid: number, parser: (text: string) => unknown) => void): void;
}
