/**
 * What PostgreSQL prints of a CHECK, made of its row of `pg_constraint` alone. `pg_get_constraintdef` looks the constraint up
 * again, with a younger snapshot than that of the query: where another fence is committed in between, it gives null.
 */
export const PRINTED_CHECK = `format('CHECK (%s)%s%s', pg_get_expr(conbin, conrelid),
      CASE WHEN connoinherit THEN ' NO INHERIT' END,
      CASE WHEN NOT convalidated
        -- A column of PostgreSQL 18.
        THEN CASE to_jsonb(pg_constraint) ->> 'conenforced' WHEN 'false' THEN ' NOT ENFORCED' ELSE ' NOT VALID' END END)`;
