import { isUtf8 } from 'node:buffer';
import protobuf from 'protobufjs';
import { locketProto } from './proto.js';

/** What a resource is, as a number; another number may come. */
export const typeCodes = { unknown: 0, lock: 1, presence: 2 } as const;

export interface WireResource {
  key: string;
  owner: string;
  value: string;
  /** `lock` or `presence`, or what an old or careless peer says. */
  type: string;
  typeCode: number;
}

export interface LockRequest {
  resource: WireResource | undefined;
  ttlInSeconds: bigint;
}

export interface ReleaseRequest {
  resource: WireResource | undefined;
}

export interface FetchRequest {
  key: string;
}

export interface FetchResponse {
  resource: WireResource | undefined;
}

export interface FetchAllRequest {
  type: string;
  typeCode: number;
}

export interface FetchAllResponse {
  resources: WireResource[];
}

export type Empty = Record<string, never>;

/** One message's encoding. */
export interface Codec<Message> {
  encode(message: Message): Buffer;
  /** @throws with what is wrong with the bytes */
  decode(bytes: Buffer): Message;
}

/** What the library makes of a message. */
type Fields = Record<string, unknown>;

const root = protobuf.parse(locketProto).root;
root.resolveAll();

function codec<Message extends object>(name: string, from: (fields: Fields) => Message): Codec<Message> {
  const type = root.lookupType(`models.${name}`);
  return {
    encode: (message) => Buffer.from(type.encode(type.fromObject(toFields(message))).finish()),
    decode(bytes) {
      // The reader that the library takes for buffers by itself lets fields end early.
      const decoded = type.decode(new protobuf.Reader(bytes));
      return from(type.toObject(decoded, { longs: String, bytes: Buffer, defaults: true }));
    },
  };
}

/** Text as the bytes that the wire has; what is not there is left out. */
function toFields(message: object): Fields {
  const entries = Object.entries(message).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([name, value]) => [name, toField(value)]));
}

function toField(value: unknown): unknown {
  if (typeof value === 'string') return Buffer.from(value);
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return value.map(toField);
  return typeof value === 'object' && value !== null ? toFields(value) : value;
}

function text(fields: Fields, name: string): string {
  const bytes = fields[name] as Buffer;
  if (!isUtf8(bytes)) throw new Error(`${name}: not UTF-8`);
  return bytes.toString();
}

function resource(fields: Fields): WireResource {
  return {
    key: text(fields, 'key'),
    owner: text(fields, 'owner'),
    value: text(fields, 'value'),
    type: text(fields, 'type'),
    typeCode: fields.typeCode as number,
  };
}

function optionalResource(fields: Fields): WireResource | undefined {
  return fields.resource ? resource(fields.resource as Fields) : undefined;
}

const empty = (): Empty => ({});

export const lockRequest = codec<LockRequest>('LockRequest', (fields) => ({
  resource: optionalResource(fields),
  ttlInSeconds: BigInt(fields.ttlInSeconds as string),
}));
export const lockResponse = codec<Empty>('LockResponse', empty);

export const releaseRequest = codec<ReleaseRequest>('ReleaseRequest', (fields) => ({
  resource: optionalResource(fields),
}));
export const releaseResponse = codec<Empty>('ReleaseResponse', empty);

export const fetchRequest = codec<FetchRequest>('FetchRequest', (fields) => ({ key: text(fields, 'key') }));
export const fetchResponse = codec<FetchResponse>('FetchResponse', (fields) => ({
  resource: optionalResource(fields),
}));

export const fetchAllRequest = codec<FetchAllRequest>('FetchAllRequest', (fields) => ({
  type: text(fields, 'type'),
  typeCode: fields.typeCode as number,
}));
export const fetchAllResponse = codec<FetchAllResponse>('FetchAllResponse', (fields) => ({
  resources: (fields.resources as Fields[]).map(resource),
}));
