/**
 * A field of a protobuf message: the text of a string, the number of a varint as text; null where the message has none or
 * cannot be read. Enough of the wire format (protobuf.dev, "Encoding") to skip what comes before. In pg_temp, and
 * dropped after use.
 */
export const READ_PROTOBUF_FIELD = `
  CREATE OR REPLACE FUNCTION pg_temp.read_protobuf_field(message bytea, wanted bigint) RETURNS text
  LANGUAGE plpgsql AS $$
  DECLARE
    at integer := 0;
    value bigint;
    shift integer;
    tag bigint;
    found text;
  BEGIN
    WHILE at < length(message) LOOP
      FOR part IN 1..2 LOOP -- the tag; then, for a varint or a length-delimited field, its value or length
        value := 0;
        shift := 0;
        LOOP
          value := value | ((get_byte(message, at) & 127)::bigint << shift);
          shift := shift + 7;
          at := at + 1;
          EXIT WHEN get_byte(message, at - 1) < 128;
        END LOOP;
        IF part = 1 THEN tag := value; END IF;
        EXIT WHEN tag & 7 NOT IN (0, 2);
      END LOOP;
      CASE tag & 7
        WHEN 0 THEN
          IF tag >> 3 = wanted THEN found := value; END IF;
        WHEN 1 THEN at := at + 8;
        WHEN 5 THEN at := at + 4;
        WHEN 2 THEN
          IF value NOT BETWEEN 0 AND length(message) THEN RETURN NULL; END IF;
          IF tag >> 3 = wanted THEN found := convert_from(substring(message FROM at + 1 FOR value::integer), 'UTF8'); END IF;
          at := at + value::integer;
        ELSE RETURN NULL;
      END CASE;
    END LOOP;
    RETURN found; -- of a field that is there twice the last one counts
  EXCEPTION WHEN others THEN
    RETURN NULL;
  END $$`;

export const FORGET_PROTOBUF = `DROP FUNCTION pg_temp.read_protobuf_field(bytea, bigint)`;
