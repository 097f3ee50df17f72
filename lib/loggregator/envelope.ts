import protobuf from 'protobufjs';
import { dropsondeProto } from './proto.js';

/** One line of an app's log. */
export interface LogMessage {
  kind: 'LogMessage';
  appId: string;
  text: Buffer | string;
  /** Standard output and events, or standard error and failures. */
  type: 'OUT' | 'ERR';
  /** `App`, `STG`, `DEA`. */
  sourceType: string;
  sourceInstance: string;
  tags?: Tags | undefined;
}

/** What a figure is of, such as one cell of many. */
export type Tags = Readonly<Record<string, string>>;

/** A value at this moment. */
export interface ValueMetric {
  kind: 'ValueMetric';
  name: string;
  value: number;
  unit: string;
  tags?: Tags | undefined;
}

/** How much was added to a counter, a whole number. */
export interface CounterEvent {
  kind: 'CounterEvent';
  name: string;
  delta: number;
  tags?: Tags | undefined;
}

/** What an instance uses. */
export interface ContainerMetric {
  kind: 'ContainerMetric';
  applicationId: string;
  instanceIndex: number;
  /** 100 is one core. */
  cpuPercentage: number;
  memoryBytes: number;
  diskBytes: number;
}

export type DropsondeEvent = LogMessage | ValueMetric | CounterEvent | ContainerMetric;

let parsedType: protobuf.Type | undefined;

/** Parsed when it is needed: whoever sends no events need not pay for them at each start. */
function envelopeType(): protobuf.Type {
  parsedType ??= protobuf.parse(dropsondeProto).root.lookupType('events.Envelope');
  return parsedType;
}

const eventTypes = { LogMessage: 5, ValueMetric: 6, CounterEvent: 7, ContainerMetric: 9 } as const;
const messageTypes = { OUT: 1, ERR: 2 } as const;
/** docs/protocol/edge.md §5.1 */
const tagLimits = { count: 10, characters: 256 };

/**
 * The bytes of one Envelope (docs/protocol/edge.md §5.1).
 *
 * @param timestampNs since 1970, nanoseconds
 */
export function encodeEnvelope(origin: string, timestampNs: bigint, event: DropsondeEvent): Buffer {
  const timestamp = halves(timestampNs);
  const tags = 'tags' in event ? tagsToTell(event.tags) : {};
  const fields = { origin, eventType: eventTypes[event.kind], timestamp, ...payload(event, timestamp), tags };
  return Buffer.from(envelopeType().encode(fields).finish());
}

/** An envelope as it came. */
export interface ReceivedEnvelope {
  origin: string;
  /** Since 1970, nanoseconds; 0 where the sender told none. */
  timestampNs: bigint;
  /** A log line's own time, nanoseconds since 1970, goes with it. */
  event: Exclude<DropsondeEvent, LogMessage> | (LogMessage & { text: Buffer; timestampNs: bigint });
}

/** Bytes that are no Envelope, or one of a kind that is not known here, or without the payload that its kind names. */
export class MalformedEnvelopeError extends Error {}

/**
 * Reads the bytes of one Envelope (docs/protocol/edge.md §5.1).
 * @throws MalformedEnvelopeError
 */
export function decodeEnvelope(bytes: Uint8Array): ReceivedEnvelope {
  let envelope: WireEnvelope;
  try {
    const type = envelopeType();
    envelope = type.toObject(type.decode(bytes), { longs: String }) as WireEnvelope;
  } catch (error) {
    throw new MalformedEnvelopeError(`no envelope: ${(error as Error).message}`, { cause: error });
  }
  const { origin, timestamp = '0' } = envelope;
  return { origin, timestampNs: BigInt(timestamp), event: eventOf(envelope) };
}

/** An Envelope as the library gives it; what the sender left out is missing. */
interface WireEnvelope {
  origin: string;
  eventType: number;
  timestamp?: string;
  logMessage?: {
    message: Buffer;
    messageType: number;
    timestamp: string;
    appId?: string;
    sourceType?: string;
    sourceInstance?: string;
  };
  valueMetric?: Omit<ValueMetric, 'kind' | 'tags'>;
  counterEvent?: { name: string; delta: string };
  containerMetric?: Omit<ContainerMetric, 'kind' | 'memoryBytes' | 'diskBytes'> & {
    memoryBytes: string;
    diskBytes: string;
  };
}

function eventOf(envelope: WireEnvelope): ReceivedEnvelope['event'] {
  const { eventType, logMessage, valueMetric, counterEvent, containerMetric } = envelope;
  if (eventType === eventTypes.LogMessage && logMessage) {
    const { message, messageType, timestamp, appId = '', sourceType = '', sourceInstance = '' } = logMessage;
    const type = messageType === messageTypes.ERR ? 'ERR' : 'OUT';
    return {
      kind: 'LogMessage',
      appId,
      text: Buffer.from(message),
      type,
      sourceType,
      sourceInstance,
      timestampNs: BigInt(timestamp),
    };
  }
  if (eventType === eventTypes.ValueMetric && valueMetric) return { kind: 'ValueMetric', ...valueMetric };
  if (eventType === eventTypes.CounterEvent && counterEvent) {
    return { kind: 'CounterEvent', name: counterEvent.name, delta: Number(counterEvent.delta) };
  }
  if (eventType === eventTypes.ContainerMetric && containerMetric) {
    const { memoryBytes, diskBytes, ...rest } = containerMetric;
    return { kind: 'ContainerMetric', ...rest, memoryBytes: Number(memoryBytes), diskBytes: Number(diskBytes) };
  }
  throw new MalformedEnvelopeError(`no payload for the event type ${eventType}`);
}

function payload(event: DropsondeEvent, timestamp: Halves): Record<string, unknown> {
  switch (event.kind) {
    case 'LogMessage':
      return {
        logMessage: {
          message: typeof event.text === 'string' ? Buffer.from(event.text) : event.text,
          messageType: messageTypes[event.type],
          timestamp,
          appId: event.appId,
          sourceType: event.sourceType,
          sourceInstance: event.sourceInstance,
        },
      };
    case 'ValueMetric':
      return { valueMetric: event };
    case 'CounterEvent':
      return { counterEvent: event };
    case 'ContainerMetric':
      return { containerMetric: event };
  }
}

/** What readers take: of too many the first, of too long ones the beginning. */
function tagsToTell(tags: Tags = {}): Record<string, string> {
  const entries = Object.entries(tags).slice(0, tagLimits.count);
  return Object.fromEntries(entries.map((entry) => entry.map((text) => text.slice(0, tagLimits.characters))));
}

/** A 64-bit number as the library's writer takes it: nanoseconds since 1970 do not fit a double. */
interface Halves {
  low: number;
  high: number;
}

function halves(value: bigint): Halves {
  return { low: Number(value & 0xffffffffn), high: Number(value >> 32n) };
}
