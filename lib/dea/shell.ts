/** Quotes a text as one word of a Bourne shell; an empty text becomes `''`. */
export function shellWord(text: string): string {
  if (text === '') return "''";
  if (/^[A-Za-z0-9_\-.,:/@+=%]+$/.test(text)) return text;
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `export NAME=word;` with the value taken literally. */
export function exportLiteral(name: string, value: string): string {
  return `export ${name}=${shellWord(value)};\n`;
}

/** `export NAME="value";` where the shell expands `$`, backticks and backslashes: users rely on `$PORT`. */
export function exportExpanded(name: string, value: string): string {
  return `export ${name}="${value.replaceAll('"', '\\"')}";\n`;
}
