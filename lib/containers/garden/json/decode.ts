import { JsonScanner } from './scanner.js';

/** A value has another type than its field; in the words of Go's decoder. */
export class JsonTypeError extends Error {}

/** Where a value stands: the name of the message that holds the field, and the path of keys to it. */
export interface Field {
  message: string;
  path: string[];
}

/**
 * Turns a JSON value into what a field holds; undefined when it is `null` or absent, as Go leaves such a field alone.
 *
 * @throws JsonTypeError naming the field
 */
export type Shape<Value> = (value: unknown, field: Field) => Value | undefined;

type Fields = Record<string, Shape<unknown>>;
/** What a message with these fields holds. */
export type Decoded<Shapes extends Fields> = { [Key in keyof Shapes]: ReturnType<Shapes[Key]> };

/**
 * The first JSON value of a text; what follows it is ignored, as Go's decoders do with bodies
 * (docs/protocol/containers.md §2.1).
 *
 * @throws JsonSyntaxError, with the text `EOF` when there is nothing
 */
export function firstValue(text: Buffer): unknown {
  return JSON.parse(text.toString('utf8', 0, endOfFirstValue(text)));
}

function endOfFirstValue(text: Buffer): number {
  const scanner = new JsonScanner();
  const end = scanner.scan(text);
  if (end === undefined) scanner.finish();
  return end ?? text.length;
}

/**
 * Decodes a body of one message; `null` counts as one without fields.
 *
 * @throws JsonSyntaxError, JsonTypeError
 */
export function decodeBody<Value>(text: Buffer, shape: Shape<Value>): Value {
  const value = firstValue(text);
  const root: Field = { message: '', path: [] };
  return shape(value ?? {}, root)!;
}

export const string: Shape<string> = (value, field) => {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw mismatch(value, field, 'string');
  return value;
};

export const bool: Shape<boolean> = (value, field) => {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw mismatch(value, field, 'bool');
  return value;
};

const ranges = {
  int: [-(2 ** 63), 2 ** 63],
  int64: [-(2 ** 63), 2 ** 63],
  uint64: [0, 2 ** 64],
  uint32: [0, 2 ** 32 - 1],
  uint16: [0, 2 ** 16 - 1],
  uint8: [0, 2 ** 8 - 1],
} as const;

/** A whole number; one beyond 2^53 comes out rounded. */
export function integer(type: keyof typeof ranges): Shape<number> {
  const [smallest, largest] = ranges[type];
  return (value, field) => {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number') throw mismatch(value, field, type);
    const fits = Number.isInteger(value) && value >= smallest && value <= largest;
    if (!fits) throw mismatch(value, field, type, `number ${value}`);
    return value;
  };
}

export function list<Value>(element: Shape<Value>, type: string): Shape<Value[]> {
  return (value, field) => {
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) throw mismatch(value, field, `[]${type}`);
    return value.map((entry) => element(entry, field)).filter((entry) => entry !== undefined);
  };
}

/** An object with any keys. */
export const strings: Shape<Record<string, string>> = (value, field) => {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw mismatch(value, field, 'map[string]string');
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, string(entry, field) ?? '']));
};

/** An object with the given keys in any case; others are ignored, and of one key in several cases the last counts. */
export function message<Shapes extends Fields>(name: string, fields: Shapes): Shape<Decoded<Shapes>> {
  return (value, field) => {
    if (value === undefined || value === null) return undefined;
    if (!isObject(value)) throw mismatch(value, field, `garden.${name}`);
    const given = new Map(Object.entries(value).map(([key, entry]) => [key.toLowerCase(), entry]));
    const decoded = Object.entries(fields).map(([key, shape]) => {
      const entry = given.get(key.toLowerCase());
      return [key, shape(entry, { message: name, path: [...field.path, key] })];
    });
    return Object.fromEntries(decoded) as Decoded<Shapes>;
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mismatch(value: unknown, { message, path }: Field, type: string, kind = kindOf(value)): JsonTypeError {
  const place = path.length === 0 ? 'Go value' : `Go struct field ${message}.${path.join('.')}`;
  return new JsonTypeError(`json: cannot unmarshal ${kind} into ${place} of type ${type}`);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}
