/**
 * Reads protocol buffers by their tags, without any description of the messages, so that specs share nothing with what
 * they check. Field numbers are those of docs/protocol/edge.md §5.1.
 */
export interface WireField {
  number: number;
  wireType: number;
  value: bigint | Buffer;
}

export function readFields(bytes: Buffer): WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at];
      if (byte === undefined || shift > 63n) throw new Error(`no varint at ${at}`);
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error(`${length} bytes wanted at ${at} of ${bytes.length}`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const [number, wireType] = [tag >> 3, tag & 7];
    if (wireType === 0) fields.push({ number, wireType, value: varint() });
    else if (wireType === 1) fields.push({ number, wireType, value: take(8) });
    else if (wireType === 2) fields.push({ number, wireType, value: take(Number(varint())) });
    else throw new Error(`wire type ${wireType} in field ${number}`);
  }
  return fields;
}

export interface ReceivedLog {
  text: string;
  type: 'OUT' | 'ERR';
  appId: string;
  sourceType: string;
  sourceInstance: string;
  timestampNs: bigint;
}

export interface ReceivedEnvelope {
  origin: string;
  timestampNs: bigint;
  /** Absent where there are none. */
  tags?: Record<string, string>;
  log?: ReceivedLog;
  value?: { name: string; value: number; unit: string };
  counter?: { name: string; delta: number };
  container?: {
    applicationId: string;
    instanceIndex: number;
    cpuPercentage: number;
    memoryBytes: number;
    diskBytes: number;
  };
}

/** @throws when the bytes are no envelope, or have a field that this agent does not send */
export function readEnvelope(bytes: Buffer): ReceivedEnvelope {
  const fields = new FieldMap(bytes, [1, 2, 6, 8, 9, 10, 12], tagsNumber);
  const tags = fields.repeated.map((entry) => new FieldMap(entry, [1, 2])).map((map) => [map.text(1), map.text(2)]);
  const envelope = {
    origin: fields.text(1),
    timestampNs: fields.integer(6),
    ...(tags.length > 0 && { tags: Object.fromEntries(tags) }),
  };
  switch (fields.integer(2)) {
    case 5n: {
      const log = new FieldMap(fields.bytes(8), [1, 2, 3, 4, 5, 6]);
      return {
        ...envelope,
        log: {
          text: log.text(1),
          type: log.integer(2) === 1n ? 'OUT' : 'ERR',
          timestampNs: log.integer(3),
          appId: log.text(4),
          sourceType: log.text(5),
          sourceInstance: log.text(6),
        },
      };
    }
    case 6n: {
      const metric = new FieldMap(fields.bytes(9), [1, 2, 3]);
      return { ...envelope, value: { name: metric.text(1), value: metric.double(2), unit: metric.text(3) } };
    }
    case 7n: {
      const event = new FieldMap(fields.bytes(10), [1, 2]);
      return { ...envelope, counter: { name: event.text(1), delta: Number(event.integer(2)) } };
    }
    case 9n: {
      const metric = new FieldMap(fields.bytes(12), [1, 2, 3, 4, 5]);
      return {
        ...envelope,
        container: {
          applicationId: metric.text(1),
          instanceIndex: Number(metric.integer(2)),
          cpuPercentage: metric.double(3),
          memoryBytes: Number(metric.integer(4)),
          diskBytes: Number(metric.integer(5)),
        },
      };
    }
    default:
      throw new Error(`event type ${fields.integer(2)}`);
  }
}

const tagsNumber = 17;

class FieldMap {
  private readonly byNumber = new Map<number, bigint | Buffer>();
  /** Of the field that may come several times. */
  readonly repeated: Buffer[] = [];

  constructor(bytes: Buffer, known: number[], repeated?: number) {
    for (const { number, value } of readFields(bytes)) {
      if (number === repeated && Buffer.isBuffer(value)) {
        this.repeated.push(value);
        continue;
      }
      if (!known.includes(number) || this.byNumber.has(number)) throw new Error(`unexpected field ${number}`);
      this.byNumber.set(number, value);
    }
  }

  integer(number: number): bigint {
    const value = this.byNumber.get(number);
    if (typeof value !== 'bigint') throw new Error(`field ${number} is no number`);
    return value;
  }

  bytes(number: number): Buffer {
    const value = this.byNumber.get(number);
    if (!Buffer.isBuffer(value)) throw new Error(`field ${number} is no bytes`);
    return value;
  }

  text(number: number): string {
    return this.bytes(number).toString();
  }

  double(number: number): number {
    return this.bytes(number).readDoubleLE();
  }
}
