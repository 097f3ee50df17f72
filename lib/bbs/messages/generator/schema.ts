import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import protobuf from 'protobufjs';

const require = createRequire(import.meta.url);

export interface EnumSchema {
  name: string;
  values: Readonly<Record<string, number>>;
  isNumberInJson: boolean;
}

export type ScalarType = 'string' | 'bytes' | 'bool' | 'int32' | 'int64' | 'uint32' | 'uint64';

export type ValueType =
  | { kind: 'scalar'; type: ScalarType }
  | { kind: 'enum'; type: EnumSchema }
  | { kind: 'message'; name: string };

export interface FieldSchema {
  number: number;
  property: string;
  jsonKey: string;
  value: ValueType;
  cardinality: 'one' | 'list' | 'map';
  /** Absent is something else than zero. */
  isOptional: boolean;
  isLeftOutWhenEmpty: boolean;
  isInlined: boolean;
  isDeprecated: boolean;
  /** Key of the JSON object around an optional scalar. */
  wrapper: string | undefined;
}

export interface MessageSchema {
  name: string;
  isRawJsonMap: boolean;
  isDeprecated: boolean;
  /** In the order of the file. */
  fields: FieldSchema[];
}

export interface Schema {
  enums: EnumSchema[];
  messages: MessageSchema[];
}

const scalarTypes: readonly string[] = ['string', 'bytes', 'bool', 'int32', 'int64', 'uint32', 'uint64'];

/**
 * What the `.proto` files of a directory say, as far as these messages use the language.
 *
 * @throws Error for what they do not use and the generator does not know
 */
export function readSchema(directory: string): Schema {
  const messages = loadMessages(directory);
  return {
    enums: messages.flatMap((type) =>
      type.nestedArray.filter((nested) => nested instanceof protobuf.Enum).map(readEnum),
    ),
    messages: messages.map(readMessage),
  };
}

/** The messages of a directory's `.proto` files, names as they stand there. */
export function loadMessages(directory: string): protobuf.Type[] {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) =>
    target.startsWith('google/') ? require.resolve(`protobufjs/${target}`) : join(directory, basename(target));
  const files = readdirSync(directory).filter((name) => name.endsWith('.proto'));
  root.loadSync(files.sort(), { keepCase: true });
  root.resolveAll();
  const { nestedArray } = root.lookup('models') as protobuf.Namespace;
  return nestedArray.filter((nested) => nested instanceof protobuf.Type);
}

function readEnum(type: protobuf.Enum): EnumSchema {
  return { name: enumName(type), values: type.values, isNumberInJson: isSet(type, '(json_number)') };
}

/** `ActualLRP.Presence` becomes `ActualLRPPresence`. */
function enumName(type: protobuf.Enum): string {
  return `${type.parent?.name ?? ''}${type.name}`;
}

function readMessage(type: protobuf.Type): MessageSchema {
  const hasPlainPresence = isSet(type, '(plain_presence)');
  return {
    name: type.name,
    isRawJsonMap: isSet(type, '(raw_json_map)'),
    isDeprecated: isSet(type, 'deprecated'),
    fields: type.fieldsArray.map((field) => readField(field, hasPlainPresence)),
  };
}

function readField(field: protobuf.Field, hasPlainPresence: boolean): FieldSchema {
  const oneof = field.partOf ?? undefined;
  if (oneof && oneof.fieldsArray.length > 1) throw new Error(`${field.fullName}: a oneof of several fields`);
  if (field instanceof protobuf.MapField && field.keyType !== 'string') {
    throw new Error(`${field.fullName}: a map whose keys are no strings`);
  }
  const value = readValueType(field);
  const cardinality = field instanceof protobuf.MapField ? 'map' : field.repeated ? 'list' : 'one';
  const isAlwaysWritten = isSet(field, '(always_written)');
  return {
    number: field.id,
    property: camelCase(field.name),
    jsonKey: (field.options?.['(json)'] as string | undefined) ?? field.name,
    value,
    cardinality,
    isOptional: cardinality === 'one' && (oneof !== undefined || (value.kind === 'message' && !isAlwaysWritten)),
    isLeftOutWhenEmpty: isSet(field, '(omit_empty)'),
    isInlined: isSet(field, '(inlined)'),
    isDeprecated: isSet(field, 'deprecated'),
    wrapper: oneof && !hasPlainPresence ? capitalized(camelCase(oneof.name)) : undefined,
  };
}

function readValueType(field: protobuf.Field): ValueType {
  if (field.resolvedType instanceof protobuf.Enum) return { kind: 'enum', type: readEnum(field.resolvedType) };
  if (field.resolvedType instanceof protobuf.Type) return { kind: 'message', name: field.resolvedType.name };
  if (scalarTypes.includes(field.type)) return { kind: 'scalar', type: field.type as ScalarType };
  throw new Error(`${field.fullName}: a value of type ${field.type}`);
}

function isSet(object: protobuf.ReflectionObject, option: string): boolean {
  return object.options?.[option] === true;
}

/** `PlacementTags` and `placement_tags` both become `placementTags`. */
function camelCase(name: string): string {
  const joined = name.replace(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
  return `${joined.charAt(0).toLowerCase()}${joined.slice(1)}`;
}

function capitalized(name: string): string {
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}
