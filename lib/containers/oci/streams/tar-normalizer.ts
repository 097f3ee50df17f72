import { Transform, type TransformCallback } from 'node:stream';
import { blockLength, longHeader, parsePax, TarHeader } from './tar-header.js';

/** Extended attributes of an entry of an archive. */
export interface EntryAttributes {
  /** As it stands in the archive. */
  name: Buffer;
  attributes: [name: string, value: Buffer][];
}

/** More than any honest header needs; what is larger is not looked into. */
const longestExtension = 1024 * 1024;
const mostAttributeBytes = 16 * 1024 * 1024;
const permissionBits = 0o777;
const pathKey = 'path';
const linkKey = 'linkpath';
const sizeKey = 'size';
const attributePrefix = 'SCHILY.xattr.';

/**
 *   header ---> content (passed on, or collected when it is an extension for the entry that follows) ---> header
 *      +------> rest: after the end of the archive, or what is no header: passed on as it is
 */
type State =
  | { part: 'header' }
  | { part: 'content'; left: number }
  | { part: 'extension'; type: string; left: number; padding: number; pieces: Buffer[] }
  | { part: 'rest' };

/**
 * Turns a tar stream into one that a simple extractor gets right: pax headers become the older long names, modes lose
 * all but their permissions. Extended attributes are collected in passing. What is no tar stream is passed on as it is,
 * for the extractor to complain about.
 */
export class TarNormalizer extends Transform {
  /** Complete once the stream has ended. */
  readonly entryAttributes: EntryAttributes[] = [];
  #state: State = { part: 'header' };
  #pending: Buffer = Buffer.alloc(0);
  #extensions = new Map<string, Buffer>();
  #attributeBytes = 0;

  override _transform(piece: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let input = this.#pending.length > 0 ? Buffer.concat([this.#pending, piece]) : piece;
    this.#pending = Buffer.alloc(0);
    while (input.length > 0) {
      const taken = this.#take(input);
      if (taken === 0) break;
      input = input.subarray(taken);
    }
    this.#pending = input;
    done();
  }

  override _flush(done: TransformCallback): void {
    // An archive that is cut off stays so.
    if (this.#pending.length > 0) this.push(this.#pending);
    done();
  }

  /** Handles a part of the input and tells its length; 0: more is needed. */
  #take(input: Buffer): number {
    const state = this.#state;
    switch (state.part) {
      case 'rest':
        this.push(input);
        return input.length;
      case 'header':
        if (input.length < blockLength) return 0;
        this.#header(input.subarray(0, blockLength));
        return blockLength;
      case 'content': {
        const taken = Math.min(state.left, input.length);
        this.push(input.subarray(0, taken));
        this.#continue(state, taken);
        return taken;
      }
      case 'extension': {
        const taken = Math.min(state.left, input.length);
        state.pieces.push(Buffer.from(input.subarray(0, taken)));
        this.#continue(state, taken);
        if (state.left === 0) this.#extension(state.type, Buffer.concat(state.pieces), state.padding);
        return taken;
      }
    }
  }

  #continue(state: { left: number }, taken: number): void {
    state.left -= taken;
    if (state.left === 0) this.#state = { part: 'header' };
  }

  #header(block: Buffer): void {
    const header = TarHeader.parse(block);
    if (header === undefined) {
      this.#state = { part: 'rest' };
      this.push(block);
      return;
    }
    if ('xgLK'.includes(header.type) && header.size > 0 && header.size <= longestExtension) {
      const left = padded(header.size);
      this.#state = { part: 'extension', type: header.type, left, padding: left - header.size, pieces: [] };
      return;
    }
    this.#entry(header);
  }

  #extension(type: string, blocks: Buffer, padding: number): void {
    const content = blocks.subarray(0, blocks.length - padding);
    // What a global header says of all entries is nothing that an extractor here would act on.
    if (type === 'x') for (const [key, value] of parsePax(content)) this.#extensions.set(key, value);
    if (type === 'L') this.#extensions.set(pathKey, untilZero(content));
    if (type === 'K') this.#extensions.set(linkKey, untilZero(content));
  }

  #entry(header: TarHeader): void {
    const extensions = this.#extensions;
    this.#extensions = new Map();
    const path = extensions.get(pathKey);
    const link = extensions.get(linkKey);
    const size = extensions.get(sizeKey);
    if (link) this.push(longHeader('K', link));
    if (path) this.push(longHeader('L', path));
    if (size && /^\d{1,15}$/.test(size.toString())) header.size = Number(size.toString());
    header.mode &= permissionBits;
    this.push(header.toBlock());
    this.#collect(path ?? header.name, extensions);
    const left = header.hasContent ? padded(header.size) : 0;
    this.#state = left > 0 ? { part: 'content', left } : { part: 'header' };
  }

  #collect(name: Buffer, extensions: Map<string, Buffer>): void {
    const attributes = [...extensions].filter(([key]) => key.startsWith(attributePrefix));
    if (attributes.length === 0) return;
    for (const [key, value] of attributes) this.#attributeBytes += key.length + value.length;
    if (this.#attributeBytes > mostAttributeBytes) return;
    this.entryAttributes.push({
      name,
      attributes: attributes.map(([key, value]) => [key.slice(attributePrefix.length), value]),
    });
  }
}

function padded(size: number): number {
  return Math.ceil(size / blockLength) * blockLength;
}

function untilZero(text: Buffer): Buffer {
  const end = text.indexOf(0);
  return end < 0 ? text : text.subarray(0, end);
}
