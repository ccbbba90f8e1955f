import { type Inspection } from './inspection';

/** Shorter ones stand inside ordinary words. */
const SHORTEST = 6;

/**
 * No part has a field for a token, but free texts, such as an error that a worker or a broker has written down, may quote
 * one.
 */
export function masked(inspection: Inspection, tokens: readonly string[]): Inspection {
  const known = tokens.filter(({ length }) => length >= SHORTEST);
  return known.length === 0 ? inspection : (mask(inspection, known) as Inspection);
}

function mask(value: unknown, tokens: readonly string[]): unknown {
  if (typeof value === 'string') return tokens.reduce((text, token) => text.replaceAll(token, '(token)'), value);
  if (Array.isArray(value)) return value.map((each) => mask(each, tokens));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [mask(name, tokens) as string, mask(inner, tokens)]),
  );
}
