/** A text with the hunks of a unified diff without context applied, from the last to the first so that line numbers hold. */
export function patched(text: string, patch: string): string {
  // Of a migration that changes nothing that the catalog tells.
  if (patch === '') return text;
  const lines = text.split('\n');
  for (const hunk of patch.split(/^(?=@@ )/m).toReversed()) {
    const [, line, count = '1'] = /^@@ -(\d+)(?:,(\d+))? /.exec(hunk) ?? [];
    const added = hunk.split('\n').flatMap((change) => (change.startsWith('+') ? change.slice(1) : []));
    // A hunk that only adds names the line after which it does.
    lines.splice(Number(line) - (count === '0' ? 0 : 1), Number(count), ...added);
  }
  return lines.join('\n');
}
