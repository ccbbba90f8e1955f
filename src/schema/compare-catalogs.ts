/** One object of the schema that is not as it should be, with the lines that `readCatalog` has of it. */
export interface Drift {
  readonly kind: 'missing' | 'unexpected' | 'different';
  /** Such as `table outbox: column attempts` or `function guard_auth_request_state`. */
  readonly object: string;
  /** Null where it is unexpected. */
  readonly expected: string | null;
  /** Null where it is missing. */
  readonly actual: string | null;
  /** What takes it back, where that is not plain. */
  readonly remedy?: string;
}

/**
 * Compares two texts of `readCatalog`, object by object. The order of columns, the white space of a function's body and
 * what a dump and its restore do to the text of a condition mean nothing.
 *
 * @returns what differs, table by table
 */
export function compareCatalogs(expected: string, actual: string): Drift[] {
  const [wanted, found] = [objectsOf(expected), objectsOf(actual)];
  const names = [...new Set([...wanted.keys(), ...found.keys()])];
  const relations = [...new Set(names.map(relationOf))];
  return names
    .toSorted((one, other) => relations.indexOf(relationOf(one)) - relations.indexOf(relationOf(other)))
    .map((object) => ({ object, expected: wanted.get(object) ?? null, actual: found.get(object) ?? null }))
    .filter((pair) => meaningOf(pair.object, pair.expected) !== meaningOf(pair.object, pair.actual))
    .map((pair) => ({
      kind: pair.actual === null ? 'missing' : pair.expected === null ? 'unexpected' : 'different',
      ...pair,
    }));
}

const relationOf = (object: string) => object.split(': ', 1)[0];

function meaningOf(object: string, text: string | null): string | undefined {
  if (text === null) return undefined;
  return object.startsWith('function ') ? text.replace(/\s+/g, ' ') : restored(text.trim());
}

/**
 * As it reads once it has been dumped and restored: PostgreSQL then casts each text of a list instead of the whole list
 * (`IN ('a', 'b')` on a varchar), which is the same condition. The parentheses are those of either way to print it.
 */
const restored = (text: string) =>
  text
    .replace(
      /\(ARRAY\[([^\]]*)\]\)::text\[\]|ARRAY\[([^\]]*)\]::text\[\]/g,
      (_list, one?: string, other?: string) => `ARRAY[${one ?? other}]`,
    )
    .replace(
      /\(('(?:[^']|'')*'::character varying)\)::text|('(?:[^']|'')*'::character varying)::text(?!\[)/g,
      (_text, one?: string, other?: string) => (one ?? other)!,
    );

/** Its objects by name. One whose name another has already is called by its whole text. */
function objectsOf(catalog: string): Map<string, string> {
  const objects = new Map<string, string>();
  let relation = '';
  // The body of a function may have lines that look like anything, so functions come last.
  const [relations, ...functions] = catalog.split(/^(?=function .+\nCREATE OR REPLACE )/m);
  for (const text of [...relations!.split(/^(?=(?:table|sequence) | {2}\S)/m), ...functions]) {
    if (text === '') continue;
    const name = nameOf(text.trim().split('\n', 1)[0]!);
    const isPart = text.startsWith('  ');
    if (!isPart) relation = name;
    const object = isPart ? `${relation}: ${name}` : name;
    objects.set(objects.has(object) ? `${object} ${text}` : object, text.trim());
  }
  return objects;
}

function nameOf(line: string): string {
  const [, kind, name] = NAMED.exec(line) ?? [];
  return kind ? `${kind.toLowerCase()} ${name}` : line;
}

const NAMED =
  /^(?:index CREATE (?:UNIQUE )?|trigger CREATE (?:CONSTRAINT )?|rule CREATE )?(table|sequence|function|column|constraint|policy|INDEX|TRIGGER|RULE) ("(?:[^"]|"")+"|\S+)/;
