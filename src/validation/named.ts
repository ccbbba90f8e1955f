/** A class under its own name, as `{ AuthorizeCommand }`, for messages: a minifier may give the class itself another. */
export type Named<T> = Readonly<Record<string, new () => T>>;

export const classIn = <T>(named: Named<T>) => Object.entries(named)[0]! as [name: string, Class: new () => T];
