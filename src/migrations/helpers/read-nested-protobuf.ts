/**
 * A message inside a protobuf message, as bytes, for `pg_temp.read_protobuf_field`; null where there is none or it cannot be read. The
 * same walk as there. In pg_temp, and dropped after use.
 */
export const READ_NESTED_PROTOBUF = `
  CREATE OR REPLACE FUNCTION pg_temp.read_nested_protobuf(message bytea, wanted bigint) RETURNS bytea
  LANGUAGE plpgsql AS $$
  DECLARE
    at integer := 0;
    value bigint;
    shift integer;
    tag bigint;
    found bytea;
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
        WHEN 0 THEN NULL;
        WHEN 1 THEN at := at + 8;
        WHEN 5 THEN at := at + 4;
        WHEN 2 THEN
          IF value NOT BETWEEN 0 AND length(message) THEN RETURN NULL; END IF;
          IF tag >> 3 = wanted THEN found := substring(message FROM at + 1 FOR value::integer); END IF;
          at := at + value::integer;
        ELSE RETURN NULL;
      END CASE;
    END LOOP;
    RETURN found; -- of a message that is there twice the last one counts
  EXCEPTION WHEN others THEN
    RETURN NULL;
  END $$`;

export const FORGET_NESTED_PROTOBUF = `DROP FUNCTION pg_temp.read_nested_protobuf(bytea, bigint)`;
