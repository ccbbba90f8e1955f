import { COMMENTS } from '../../src/schema/comments';
import { MIGRATIONS_TABLE } from '../../src/schema/objects';
import { type CommentChange, type CommentChanges } from '../../src/migrations/helpers/comments';
import { type SchemaObject } from './read-schema';

/** The text of every object that the database is to explain, by the name that COMMENT ON gives the object. */
export function explanations(): Map<string, string> {
  const texts = new Map([[`TABLE ${MIGRATIONS_TABLE}`, COMMENTS.history]]);
  const add = (comments: Readonly<Record<string, string>> = {}, nameOf: (name: string) => string) => {
    for (const [name, text] of Object.entries(comments)) texts.set(nameOf(name), text);
  };
  for (const [table, comments] of Object.entries(COMMENTS.tables)) {
    texts.set(`TABLE ${table}`, comments.row);
    add(comments.columns, (name) => `COLUMN ${table}.${name}`);
    add(comments.constraints, (name) => `CONSTRAINT ${name} ON ${table}`);
    add(comments.indexes, (name) => `INDEX ${name}`);
    add(comments.triggers, (name) => `TRIGGER ${name} ON ${table}`);
  }
  add(COMMENTS.functions, (name) => `FUNCTION ${name}()`);
  add(COMMENTS.sequences, (name) => `SEQUENCE ${name}`);
  return texts;
}

/** What a migration has to change in a database with this schema for it to say what `COMMENTS` says. */
export function missingComments(schema: readonly SchemaObject[]): CommentChanges {
  const texts = explanations();
  const changes: Record<string, Record<string, CommentChange>> = {};
  for (const { object, table, comment } of schema) {
    const text = texts.get(object) ?? null;
    if (text === comment) continue;
    (changes[table] ??= {})[object] = comment === null ? text! : [text, comment];
  }
  return changes;
}
