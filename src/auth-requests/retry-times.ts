/** SQL: 2, 4, 8 … seconds after so many failures, 300 at most, of which the second half is random. */
export const backOff = (failures: string): string =>
  `least(2 ^ least(${failures}, 9), 300) * (0.5 + random() / 2) * interval '1 second'`;

/** SQL: a time as metadata has it, with milliseconds; a protobuf field has whole seconds. */
export const isoTime = (time: string): string => `to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
