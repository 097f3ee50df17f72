import fc from 'fast-check';
import type { Field, FieldValue, MessageShape, MessageType } from '../../lib/bbs/messages/message-type.js';

/** Messages that hold themselves end there. */
const depthLimit = 5;

const text = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('p', 'q', 'guid-1', 'd', 'cell-1', 'preloaded:cflinuxfs4', 'RUNNING') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '../..', "'; DROP TABLE tasks; --", 'a\u0000b', '\u{1f600}', '%', '__proto__'),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  { weight: 1, arbitrary: fc.nat({ max: 2000 }).map((length) => 'x'.repeat(length)) },
);
const bytes = fc.oneof(
  fc
    .constantFrom('{}', '[]', '[{"hostnames":["a"],"port":1}]', '', '{', '[[[[[[', '{"a":1e999}', 'null')
    .map(Buffer.from),
  fc.uint8Array({ maxLength: 30 }).map((value) => Buffer.from(value)),
);
const int32 = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom(-1, 2 ** 31 - 1, -(2 ** 31)), fc.integer());
const int64 = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
);

/** Messages as no client should send them, but can: any field may be there or not, with values that are just wrong. */
export function messageArbitrary<T extends object>(type: MessageType<T>): fc.Arbitrary<T> {
  return shapeArbitrary(type, 0) as fc.Arbitrary<T>;
}

function shapeArbitrary(shape: MessageShape, depth: number): fc.Arbitrary<object> {
  const fields = shape.fields.flatMap((field) => {
    const arbitrary = fieldArbitrary(field, depth);
    return arbitrary ? [[field.property, fc.option(arbitrary, { nil: undefined })] as const] : [];
  });
  return fc.record(Object.fromEntries(fields)).map((chosen) => ({
    ...shape.create(),
    ...Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined)),
  }));
}

function fieldArbitrary({ cardinality, value }: Field, depth: number): fc.Arbitrary<unknown> | undefined {
  const one = valueArbitrary(value, depth);
  if (!one) return undefined;
  if (cardinality === 'list') return fc.array(one, { maxLength: 3 });
  if (cardinality === 'map') return fc.array(fc.tuple(text, one), { maxLength: 3 }).map((entries) => new Map(entries));
  return one;
}

function valueArbitrary(value: FieldValue, depth: number): fc.Arbitrary<unknown> | undefined {
  switch (value.kind) {
    case 'string':
      return text;
    case 'bytes':
      return bytes;
    case 'bool':
      return fc.boolean();
    case 'int32':
      return int32;
    case 'uint32':
      return fc.oneof(fc.nat({ max: 3 }), fc.constantFrom(8080, 2 ** 32 - 1));
    case 'int64':
      return int64;
    case 'uint64':
      return fc.oneof(fc.constantFrom(0n, 1n), fc.bigInt(0n, 2n ** 64n - 1n));
    case 'enum':
      return fc.oneof(fc.constantFrom(...Object.values(value.names)), int32);
    case 'message':
      return depth >= depthLimit ? undefined : fc.constant(0).chain(() => shapeArbitrary(value.shape(), depth + 1));
  }
}
