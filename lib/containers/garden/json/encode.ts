/** Objects keep the order of their keys, as Go's structs do; a `Map` is Go's map: its keys come sorted. */
export type JsonValue =
  | (string | number | boolean | null | undefined)
  | JsonValue[]
  | ReadonlyMap<string, JsonValue>
  | { [key: string]: JsonValue };

/** JSON as Go's encoder writes it, with a newline at the end (docs/protocol/containers.md §2.1). */
export function encodeJson(value: JsonValue): string {
  return `${encode(value)}\n`;
}

function encode(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map((entry) => encode(entry ?? null)).join(',')}]`;
  if (value instanceof Map) {
    const entries = [...value].sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
    return encodeEntries(entries);
  }
  if (typeof value === 'object' && value !== null) return encodeEntries(Object.entries(value));
  if (typeof value === 'string') return encodeString(value);
  return JSON.stringify(value) ?? 'null';
}

/** What is undefined is left out. */
function encodeEntries(entries: [string, JsonValue][]): string {
  const members = entries
    .filter(([, entry]) => entry !== undefined)
    .map(([key, entry]) => `${encodeString(key)}:${encode(entry)}`);
  return `{${members.join(',')}}`;
}

function encodeString(text: string): string {
  const escaped = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(text).replace(/[&<>\u2028\u2029]/g, escaped);
}

/** As Go's `omitempty`: nothing instead of a zero. */
export function unlessZero(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}
