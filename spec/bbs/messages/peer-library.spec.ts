import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type protobuf from 'protobufjs';
import { decode, encode } from '../../../lib/bbs/messages/codec.js';
import { loadMessages } from '../../../lib/bbs/messages/generator/schema.js';
import type { Field, MessageShape, MessageType } from '../../../lib/bbs/messages/message-type.js';
import * as models from '../../../lib/bbs/messages/models.js';

/** Every message with every field set, written and read by another library from the same files. */

type Plain = Record<string, unknown>;

const directory = fileURLToPath(new URL('../../../lib/bbs/messages', import.meta.url));
const types = new Map(
  Object.values(models)
    .filter((value): value is MessageType<Plain> & typeof value => 'read' in value)
    .map((type) => [type.name, type as unknown as MessageType<Plain>]),
);

/** Both forms of one value: ours, and that of the library. */
interface Pair {
  ours: unknown;
  theirs: unknown;
}

const deepest = 1;

function sample(shape: MessageShape, peer: protobuf.Type, depth: number): Pair {
  const ours: Plain = { ...shape.create() };
  const theirs: Plain = {};
  shape.fields.forEach((field, index) => {
    const peerField = peer.fieldsArray[index]!;
    if (depth > deepest && field.value.kind === 'message' && (field.isOptional || field.cardinality === 'list')) return;
    const value = cardinal(field, peerField, depth, index);
    ours[field.property] = value.ours;
    theirs[peerField.name] = value.theirs;
  });
  return { ours, theirs };
}

function cardinal(field: Field, peer: protobuf.Field, depth: number, seed: number): Pair {
  const first = single(field, peer, depth, seed);
  if (field.cardinality === 'one') return first;
  if (field.cardinality === 'map') return { ours: new Map([['key', first.ours]]), theirs: { key: first.theirs } };
  const second = single(field, peer, depth, seed + 1);
  return { ours: [first.ours, second.ours], theirs: [first.theirs, second.theirs] };
}

function single({ value }: Field, peer: protobuf.Field, depth: number, seed: number): Pair {
  switch (value.kind) {
    case 'message':
      return sample(value.shape(), peer.resolvedType as protobuf.Type, depth + 1);
    case 'int64':
    case 'uint64': {
      const ours = 1_700_000_000_000_000_000n + BigInt(seed);
      return { ours, theirs: { low: Number(ours & 0xffffffffn), high: Number(ours >> 32n), unsigned: false } };
    }
    case 'int32':
      return { ours: -(seed + 1), theirs: -(seed + 1) };
    case 'uint32':
      return { ours: 2 ** 31 + seed, theirs: 2 ** 31 + seed };
    case 'enum':
      return { ours: 1, theirs: 1 };
    case 'bool':
      return { ours: true, theirs: true };
    case 'bytes':
      return { ours: Buffer.from([seed, 255]), theirs: Buffer.from([seed, 255]) };
    case 'string':
      return { ours: `é${seed}`.repeat(seed + 7), theirs: `é${seed}`.repeat(seed + 7) };
  }
}

describe('messages beside those of another library', () => {
  for (const peer of loadMessages(directory)) {
    it(`have the same bytes: ${peer.name}`, () => {
      const type = types.get(peer.name)!;
      const { ours, theirs } = sample(type, peer, 0);
      const bytes = Buffer.from(peer.encode(theirs as Plain).finish());
      expect(encode(type, ours as Plain).equals(bytes)).to.equal(true);
      expect(decode(type, bytes)).to.deep.equal(ours);
    });
  }
});
