import type { Readable } from './reader.js';
import type { Writable } from './writer.js';

/** How one message is made, written and read; its code is generated from the `.proto` files into `models.ts`. */
export interface MessageType<T extends object> extends MessageShape, Readable<T>, Writable<T> {
  /** A message with every field: the given ones, and the zero of each other. */
  create(fields?: Partial<T>): T;
}

/** What is known of a message without its type: enough to print and read its JSON. */
export interface MessageShape {
  readonly name: string;
  /** In the order of Go's struct, which is that of JSON. */
  readonly fields: readonly Field[];
  /** The message is a map of names to JSON text, and in JSON that map. */
  readonly isRawJsonMap: boolean;
  create(): object;
}

/** One field, as JSON needs it (docs/protocol/bbs-messages.md §0). */
export interface Field {
  /** Of the property that holds it. */
  readonly property: string;
  /** In JSON. */
  readonly key: string;
  readonly isLeftOutWhenEmpty: boolean;
  /** The keys of this message stand among its parent's. */
  readonly isInlined: boolean;
  /** Key of the object that an optional scalar stands in. */
  readonly wrapper?: string;
  /** Absent is something else than zero. */
  readonly isOptional: boolean;
  readonly cardinality: 'one' | 'list' | 'map';
  readonly value: FieldValue;
}

export type FieldValue =
  | { readonly kind: 'string' | 'bytes' | 'bool' | 'int32' | 'uint32' | 'int64' | 'uint64' }
  | { readonly kind: 'enum'; readonly names: Readonly<Record<string, number>>; readonly isNumberInJson: boolean }
  | { readonly kind: 'message'; readonly shape: () => MessageShape };
