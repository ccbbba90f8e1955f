/**
 * SQL that appends fields to an encoded message, where the database alone knows their values. Protobuf lets a field be
 * appended, and of one that is there twice the last one counts (protobuf.dev, "Encoding"). A default is left out, as
 * protobuf has it.
 *
 * @param expression SQL; it is repeated, so it must be a column or the like
 */
export const int64Field = (field: number, expression: string): string =>
  `CASE WHEN ${expression} > 0 THEN ${tag(field, 0)} || ${varint(expression)} ELSE '' END`;

/** A string field. NULL is left out, too. */
export const textField = (field: number, expression: string): string =>
  `CASE WHEN ${expression} <> '' THEN ${tag(field, 2)} || ${varint(`octet_length(convert_to(${expression}, 'UTF8'))`)}
     || convert_to(${expression}, 'UTF8') ELSE '' END`;

/** Fields 1 to 15 have a tag of one byte. */
const tag = (field: number, wireType: number) =>
  `'\\x${((field << 3) | wireType).toString(16).padStart(2, '0')}'::bytea`;

/** Seven bits a byte, the lowest first, with the highest bit set on all but the last: any bigint from 0 on. */
const varint = (expression: string): string =>
  `(SELECT string_agg(set_byte('\\x00', 0, ((${expression})::bigint >> 7 * byte & 127
       | CASE WHEN (${expression})::bigint >> 7 * byte >= 128 THEN 128 ELSE 0 END)::integer), '' ORDER BY byte)
     FROM generate_series(0, 8) AS byte
     WHERE byte = 0 OR (${expression})::bigint >> 7 * byte > 0)`;
