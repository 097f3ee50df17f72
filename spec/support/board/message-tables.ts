import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

/**
 * Messages as the tables of docs/protocol/bbs-messages.md have them, read and written by another library: neither the
 * board's own definitions nor its own codec take part.
 */

const document = fileURLToPath(new URL('../../../docs/protocol/bbs-messages.md', import.meta.url));
const { root } = protobuf.parse(definitions(readFileSync(document, 'utf8')), { keepCase: true });

/** @returns the fields that are there, by the tables' names; 64-bit integers as text, enums as their names */
export function readByTables(message: string, bytes: Buffer): Record<string, unknown> {
  const type = root.lookupType(message);
  return type.toObject(type.decode(bytes), { longs: String, enums: String, bytes: Buffer });
}

/** @param fields as `readByTables` gives them */
export function writeByTables(message: string, fields: Record<string, unknown>): Buffer {
  const type = root.lookupType(message);
  return Buffer.from(type.encode(type.fromObject(fields)).finish());
}

/** The tables in the language of .proto files. */
function definitions(text: string): string {
  const blocks: string[] = [];
  const enums = enumsOf(text);
  for (const section of text.split(/^### /m).slice(1)) {
    const [, name] = /^(\w+)(?: \(deprecated\))?\n/.exec(section) ?? [];
    if (name === undefined || !section.includes('\n| # | field |')) continue;
    const fields = [...section.matchAll(/^\| (\d+) \| `(\w+)` \| ([^|]+) \|[^|]*\|([^|]*)\|$/gm)].map(
      ([, number, field, type, notes]) => fieldOf({ number: number!, field: field!, type: type!, notes: notes! }),
    );
    blocks.push(`message ${name} {\n${[...(enums.get(name) ?? []), ...fields].join('\n')}\n}`);
  }
  return `syntax = "proto3";\n${blocks.join('\n')}`;
}

function fieldOf({ number, field, type, notes }: Record<'number' | 'field' | 'type' | 'notes', string>): string {
  const presence = notes.includes('has presence') ? 'optional ' : '';
  const packing = notes.includes('NOT packed') ? ' [packed = false]' : '';
  return `${presence}${type} ${field} = ${number}${packing};`;
}

/** Enums by the message that they stand in: "enum `Error.Type` (JSON: name): 0=UnknownError, 3=InvalidRecord". */
function enumsOf(text: string): Map<string, string[]> {
  const enums = new Map<string, string[]>();
  for (const [, owner, name, list] of text.matchAll(/^enum `(\w+)\.(\w+)` \([^)]*\): ([^.\n]+)/gm)) {
    const values = [...list!.matchAll(/(\d+)=(\w+)/g)].map(([, number, value]) => `${value} = ${number};`);
    enums.set(owner!, [...(enums.get(owner!) ?? []), `enum ${name} { ${values.join(' ')} }`]);
  }
  return enums;
}
