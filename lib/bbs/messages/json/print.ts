import type { Field, FieldValue, MessageShape, MessageType } from '../message-type.js';
import { quoteJson } from './text.js';

/**
 * The message as Go's `encoding/json` prints its struct (docs/protocol/bbs-messages.md §0, JSON form): keys in the order
 * of the fields, 64-bit integers as numbers, maps by key.
 */
export function toJson<T extends object>(type: MessageType<T>, message: T): string {
  return printMessage(type, message);
}

function printMessage(shape: MessageShape, message: object): string {
  if (shape.isRawJsonMap) return printRawMap(onlyMap(shape, message));
  return `{${printMembers(shape, message).join(',')}}`;
}

function printMembers(shape: MessageShape, message: object): string[] {
  const properties = message as Record<string, unknown>;
  return shape.fields.flatMap((field) => printField(field, properties[field.property]));
}

function printField(field: Field, value: unknown): string[] {
  if (field.isInlined && field.value.kind === 'message') {
    return value === undefined ? [] : printMembers(field.value.shape(), value as object);
  }
  if (field.wrapper !== undefined) return [`${quoteJson(field.wrapper)}:${printWrapped(field, value)}`];
  const text = printCardinality(field, value);
  if (text === undefined && field.isLeftOutWhenEmpty) return [];
  return [`${quoteJson(field.key)}:${text ?? emptyText(field, value)}`];
}

/** @returns undefined for what Go takes as empty */
function printCardinality(field: Field, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (field.cardinality === 'list') {
    const list = value as readonly unknown[];
    return list.length === 0 ? undefined : `[${list.map((element) => printValue(field.value, element)).join(',')}]`;
  }
  if (field.cardinality === 'map') {
    const map = value as ReadonlyMap<string, unknown>;
    return map.size === 0 ? undefined : printMap(map, (element) => printValue(field.value, element));
  }
  return field.isOptional || !isEmpty(value, field.value) ? printValue(field.value, value) : undefined;
}

/** Whether Go takes it as empty; a struct never is, a map of routes is a map. */
function isEmpty(value: unknown, type: FieldValue): boolean {
  if (type.kind === 'message') return isEmptyRawMap(type.shape(), value as object);
  return value === '' || value === 0 || value === 0n || value === false;
}

/** How Go prints what is empty and not left out: a nil slice is null, a nil map that it makes is not. */
function emptyText(field: Field, value: unknown): string {
  if (value === undefined || field.cardinality === 'list') return 'null';
  if (field.cardinality === 'map') return '{}';
  return field.value.kind === 'message' ? 'null' : printValue(field.value, value);
}

function isEmptyRawMap(shape: MessageShape, message: object): boolean {
  return shape.isRawJsonMap && onlyMap(shape, message).size === 0;
}

function printWrapped(field: Field, value: unknown): string {
  if (value === undefined) return 'null';
  if (field.isLeftOutWhenEmpty && isEmpty(value, field.value)) return '{}';
  return `{${quoteJson(field.key)}:${printValue(field.value, value)}}`;
}

function printValue(type: FieldValue, value: unknown): string {
  switch (type.kind) {
    case 'message':
      return printMessage(type.shape(), value as object);
    case 'enum':
      return type.isNumberInJson ? String(value) : quoteJson(enumName(type.names, value as number));
    case 'bytes':
      return quoteJson((value as Buffer).toString('base64'));
    case 'string':
      return quoteJson(value as string);
    default:
      return String(value);
  }
}

function enumName(names: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value);
}

function onlyMap(shape: MessageShape, message: object): ReadonlyMap<string, Buffer> {
  return (message as Record<string, ReadonlyMap<string, Buffer>>)[shape.fields[0]!.property]!;
}

function printRawMap(map: ReadonlyMap<string, Buffer>): string {
  return printMap(map, (value) => value.toString('utf8'));
}

function printMap<T>(map: ReadonlyMap<string, T>, print: (value: T) => string): string {
  const sorted = [...map].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${sorted.map(([key, value]) => `${quoteJson(key)}:${print(value)}`).join(',')}}`;
}
