import protobuf from 'protobufjs';
import type { z } from 'zod';
import {
  type Request,
  type RequestFields,
  type RequestName,
  type Response,
  type ResponseFields,
  requestSchemas,
  responseSchemas,
  type TypeName,
  typeNumbers,
} from './messages.js';
import { wardenProto } from './proto.js';

/** A payload is no Message, or of a type that there is not: the connection is of no further use. */
export class UnreadableMessageError extends Error {}

/** A message of a known type lacks a field, or has one that makes no sense; the text names it. */
export class InvalidMessageError extends Error {}

/** A payload whose type is known, and whose content is not looked at yet. */
export interface Envelope {
  type: TypeName;
  content: Buffer;
}

let parsedRoot: protobuf.Root | undefined;

/** Parsed when it is needed: a program that may speak the protocol need not pay for it at each start. */
function typeOf(message: string): protobuf.Type {
  if (!parsedRoot) {
    const { root } = protobuf.parse(wardenProto);
    // Only then does the decoder know which fields are required.
    root.resolveAll();
    parsedRoot = root;
  }
  return parsedRoot.lookupType(`warden.${message}`);
}

const typeNames = new Map(Object.entries(typeNumbers).map(([name, number]) => [number as number, name as TypeName]));

/** The payload of a frame with a request in it. */
export function encodeRequest<Name extends RequestName>(type: Name, fields: RequestFields<Name>): Buffer {
  return encode(type, `${type}Request`, fields);
}

/** The payload of a frame with a response in it; `fields` are the response's of that type. */
export function encodeResponse<Name extends TypeName>(type: Name, fields: ResponseFields<Name>): Buffer {
  return encode(type, `${type}Response`, fields);
}

/** @throws UnreadableMessageError */
export function decodeEnvelope(payload: Buffer): Envelope {
  const { type, payload: content } = readFields(
    typeOf('Message'),
    payload,
    (reason) => new UnreadableMessageError(reason),
  );
  const name = typeof type === 'number' ? typeNames.get(type) : undefined;
  if (name === undefined) throw new UnreadableMessageError(`there is no message type ${String(type)}`);
  return { type: name, content: content as Buffer };
}

/** @throws InvalidMessageError */
export function decodeRequest<Name extends RequestName>(type: Name, content: Buffer): Request<Name> {
  return decode(`${type}Request`, requestSchemas[type], content) as Request<Name>;
}

/** @throws InvalidMessageError */
export function decodeResponse<Name extends TypeName>(type: Name, content: Buffer): Response<Name> {
  return decode(`${type}Response`, responseSchemas[type], content) as Response<Name>;
}

function encode(type: TypeName, message: string, fields: object): Buffer {
  const messageType = typeOf(message);
  const payload = messageType.encode(messageType.fromObject(fields)).finish();
  const envelopeType = typeOf('Message');
  return Buffer.from(envelopeType.encode(envelopeType.create({ type: typeNumbers[type], payload })).finish());
}

function decode(message: string, schema: z.ZodType, content: Buffer): unknown {
  const fields = readFields(typeOf(message), content, (reason) => new InvalidMessageError(`${message}: ${reason}`), {
    enums: String,
  });
  const parsed = schema.safeParse(fields);
  if (parsed.success) return parsed.data;
  const { path, message: reason } = parsed.error.issues[0]!;
  throw new InvalidMessageError(`${message}: ${path.join('.')}: ${reason}`);
}

function readFields(
  type: protobuf.Type,
  content: Buffer,
  failure: (reason: string) => Error,
  options: protobuf.IConversionOptions = {},
): Record<string, unknown> {
  try {
    // The reader that the library takes for buffers by itself lets strings end early.
    const decoded = type.decode(new protobuf.Reader(content));
    // 64-bit numbers beyond 2^53 stand for "no limit" wherever they occur; a double is near enough.
    return type.toObject(decoded, { longs: Number, ...options });
  } catch (error) {
    throw failure(error instanceof Error ? error.message : String(error));
  }
}
