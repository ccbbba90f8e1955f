/** Shows control characters as JSON does: a terminal would obey them. */
export const disarm = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
