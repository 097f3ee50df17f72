import type { Field, FieldValue, MessageShape, MessageType } from '../../lib/bbs/messages/message-type.js';

/** Messages that hold themselves end there. */
const depthLimit = 4;

/** A message with something in every field, each time the same. */
export function filledMessage<T extends object>(type: MessageType<T>, fields: Partial<T> = {}): T {
  return { ...(fill(type, 0) as T), ...fields };
}

function fill(shape: MessageShape, depth: number): object {
  const filled = shape.fields.map((field, index) => [field.property, fieldOf(field, index + 1, depth)] as const);
  return { ...shape.create(), ...Object.fromEntries(filled.filter(([, value]) => value !== undefined)) };
}

function fieldOf({ property, cardinality, value }: Field, seed: number, depth: number): unknown {
  const one = sampleOf(value, property, seed, depth);
  if (one === undefined) return undefined;
  if (cardinality === 'list') return [one, sampleOf(value, property, seed + 50, depth)];
  return cardinality === 'map' ? new Map([[`${property} \u{1f600}`, one]]) : one;
}

function sampleOf(value: FieldValue, name: string, seed: number, depth: number): unknown {
  switch (value.kind) {
    case 'string':
      return `${name} <${seed}> \u{1f30d}é`;
    case 'bytes':
      return Buffer.from(JSON.stringify([name, seed]));
    case 'bool':
      return true;
    case 'int32':
      return -seed;
    case 'uint32':
      return 4_000_000_000 + seed;
    case 'int64':
      return 1_700_000_000_123_456_789n + BigInt(seed);
    case 'uint64':
      return 18_000_000_000_123_456_789n + BigInt(seed);
    case 'enum':
      return Math.max(...Object.values(value.names));
    case 'message':
      return depth >= depthLimit ? undefined : fill(value.shape(), depth + 1);
  }
}
