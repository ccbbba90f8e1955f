/**
 * SQL that appends fields to an encoded message, where the database alone knows their values. Protobuf lets a field be
 * appended, and of one that is there twice the last one counts (protobuf.dev, "Encoding"). A default is left out, as
 * protobuf has it.
 *
 * @param expression SQL; it is repeated, so it must be a column or the like
 */
export const int64Field = (field: number, expression: string): string =>
  `CASE WHEN ${expression} > 0 THEN ${tag(field, 0)} || ${varint(expression)} ELSE '' END`;

/** A string field, of less than 2 MiB. NULL is left out, too. */
export const textField = (field: number, expression: string): string =>
  `CASE WHEN ${expression} <> '' THEN ${tag(field, 2)} || ${varint(`octet_length(convert_to(${expression}, 'UTF8'))`, 3)}
     || convert_to(${expression}, 'UTF8') ELSE '' END`;

/** Fields 1 to 15 have a tag of one byte. */
const tag = (field: number, wireType: number) =>
  `'\\x${((field << 3) | wireType).toString(16).padStart(2, '0')}'::bytea`;

/**
 * Seven bits a byte, the lowest first, with the highest bit set on all but the last: any bigint from 0 on has nine at most.
 * Written out, byte by byte: a query that aggregates them costs a statement as much as a table more, also where it is not reached.
 */
const varint = (expression: string, bytes = 9): string =>
  Array.from({ length: bytes }, (_, byte) => {
    const rest = (from: number) => `((${expression})::bigint >> ${7 * from})`;
    const isLast = byte === bytes - 1 ? '0' : `CASE WHEN ${rest(byte + 1)} > 0 THEN 128 ELSE 0 END`;
    const octet = `set_byte('\\x00', 0, (${rest(byte)} & 127 | ${isLast})::integer)`;
    return byte === 0 ? octet : `CASE WHEN ${rest(byte)} > 0 THEN ${octet} ELSE '' END`;
  }).join(' || ');
