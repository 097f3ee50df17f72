const columnBytes = 1024;
const keptBytes = 1013;
const mark = '(truncated)';

/**
 * A reason as it is stored (docs/protocol/bbs.md §7.2): of 1024 bytes and more the first 1013 and a mark. Upstream cuts
 * within a character where it must; here the whole character goes. NUL, which PostgreSQL has no place for, is replaced:
 * what a process said last must not keep its crash from being told.
 */
export function storedText(reason: string): string {
  const text = reason.replaceAll('\0', '\ufffd');
  if (Buffer.byteLength(text) < columnBytes) return text;
  const bytes = Buffer.from(text);
  let end = keptBytes;
  // Bytes of a character after its first.
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1;
  return `${bytes.toString('utf8', 0, end)}${mark}`;
}
