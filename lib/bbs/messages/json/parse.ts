import type { Field, FieldValue, MessageShape, MessageType } from '../message-type.js';
import { compactJson, elementsOf, InvalidJson, membersOf, requireJson } from './text.js';

/**
 * Reads what Go's `encoding/json` reads into the message's struct (docs/protocol/bbs-messages.md §0, JSON form): keys
 * in any case, unknown ones passed over, null as if it were not there. Integers are exact, whatever their size.
 *
 * @throws InvalidJson naming the field
 */
export function fromJson<T extends object>(type: MessageType<T>, text: string): T {
  requireJson(text);
  return parseMessage(type, text.trim(), type.name) as T;
}

function parseMessage(shape: MessageShape, text: string, place: string): object {
  if (!text.startsWith('{')) throw new InvalidJson(`${place}: not an object`);
  const members = membersOf(text).filter(([, value]) => value !== 'null');
  if (shape.isRawJsonMap) return { ...shape.create(), [shape.fields[0]!.property]: parseRawMap(members) };
  return fillIn(shape, members, place);
}

function fillIn(shape: MessageShape, members: readonly [string, string][], place: string): object {
  const message = { ...shape.create() } as Record<string, unknown>;
  for (const field of shape.fields) {
    if (field.isInlined && field.value.kind === 'message') {
      message[field.property] = fillIn(field.value.shape(), members, place);
      continue;
    }
    const text = lookUp(members, field.wrapper ?? field.key);
    if (text === undefined) continue;
    const value = parseField(field, text, `${place}.${field.key}`);
    if (value !== undefined) message[field.property] = value;
  }
  return message;
}

/** The exact key first, else one that differs in case only; of several the last. */
function lookUp(members: readonly [string, string][], key: string): string | undefined {
  const exact = members.findLast(([name]) => name === key);
  return (exact ?? members.findLast(([name]) => name.toLowerCase() === key.toLowerCase()))?.[1];
}

function parseField(field: Field, text: string, place: string): unknown {
  if (field.wrapper !== undefined) {
    if (!text.startsWith('{')) throw new InvalidJson(`${place}: not an object`);
    const inner = lookUp(membersOf(text), field.key);
    return inner === undefined || inner === 'null' ? undefined : parseValue(field.value, inner, place);
  }
  if (field.cardinality === 'list') {
    if (!text.startsWith('[')) throw new InvalidJson(`${place}: not a list`);
    return elementsOf(text).map((element, index) => parseValue(field.value, element, `${place}[${index}]`));
  }
  if (field.cardinality === 'map') {
    if (!text.startsWith('{')) throw new InvalidJson(`${place}: not an object`);
    return new Map(membersOf(text).map(([key, value]) => [key, parseValue(field.value, value, `${place}.${key}`)]));
  }
  return parseValue(field.value, text, place);
}

function parseValue(type: FieldValue, text: string, place: string): unknown {
  switch (type.kind) {
    case 'message':
      return parseMessage(type.shape(), text, place);
    case 'enum':
      return type.isNumberInJson
        ? Number(parseInteger('int32', text, place))
        : parseEnum(type.names, parseString(text, place), place);
    case 'string':
      return parseString(text, place);
    case 'bytes':
      return Buffer.from(parseString(text, place), 'base64');
    case 'bool':
      if (text !== 'true' && text !== 'false') throw new InvalidJson(`${place}: not true or false`);
      return text === 'true';
    case 'int32':
    case 'uint32':
      return Number(parseInteger(type.kind, text, place));
    case 'int64':
    case 'uint64':
      return parseInteger(type.kind, text, place);
  }
}

function parseString(text: string, place: string): string {
  if (!text.startsWith('"')) throw new InvalidJson(`${place}: not a string`);
  return String(JSON.parse(text));
}

const ranges = {
  int32: { least: -(2n ** 31n), most: 2n ** 31n - 1n },
  uint32: { least: 0n, most: 2n ** 32n - 1n },
  int64: { least: -(2n ** 63n), most: 2n ** 63n - 1n },
  uint64: { least: 0n, most: 2n ** 64n - 1n },
};

function parseInteger(kind: keyof typeof ranges, text: string, place: string): bigint {
  const value = /^-?\d+$/.test(text) ? BigInt(text) : undefined;
  const { least, most } = ranges[kind];
  if (value === undefined || value < least || value > most)
    throw new InvalidJson(`${place}: not a number of type ${kind}`);
  return value;
}

function parseEnum(names: Readonly<Record<string, number>>, name: string, place: string): number {
  const value = Object.hasOwn(names, name) ? names[name] : undefined;
  if (value !== undefined) return value;
  // The one that Go takes for its zero.
  if (Object.hasOwn(names, 'DynamicValueInvalid')) return 0;
  throw new InvalidJson(`${place}: ${JSON.stringify(name)} is none of ${Object.keys(names).join(', ')}`);
}

function parseRawMap(members: readonly [string, string][]): Map<string, Buffer> {
  return new Map(members.map(([key, value]) => [key, compactJson(Buffer.from(value))]));
}
