import { Transform, type TransformCallback } from 'node:stream';
import {
  blockBytes,
  decodeHeader,
  decodePax,
  encodeLong,
  entryTypes,
  extensionTypes,
  paddingFor,
  rewriteHeader,
  type TarHeader,
  xattrPrefix,
} from '../images/tar/tar-format.js';

/** Extended attributes of an entry of an archive. */
export interface EntryAttributes {
  /** As it stands in the archive, one character for each byte. */
  name: string;
  /** Values are bytes, one character each. */
  attributes: [name: string, value: string][];
}

/** More than any honest header needs; what is larger is not looked into. */
const longestExtension = 1024 * 1024;
const mostAttributeBytes = 16 * 1024 * 1024;
const permissionBits = 0o777;
const pathKey = 'path';
const linkKey = 'linkpath';
const sizeKey = 'size';
/** An extractor of today looks at the size of files only; devices and links have none, whatever their header says. */
const typesWithoutContent: string[] = Object.values(entryTypes).filter((type) => type !== entryTypes.file);

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
  #extensions = new Map<string, string>();
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
        if (input.length < blockBytes) return 0;
        this.#header(input.subarray(0, blockBytes));
        return blockBytes;
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
    const header = headerIn(block);
    if (header === undefined) {
      this.#state = { part: 'rest' };
      this.push(block);
      return;
    }
    const isExtension = (Object.values(extensionTypes) as string[]).includes(header.type);
    if (isExtension && header.size > 0 && header.size <= longestExtension) {
      const padding = paddingFor(header.size);
      this.#state = { part: 'extension', type: header.type, left: header.size + padding, padding, pieces: [] };
      return;
    }
    this.#entry(block, header);
  }

  #extension(type: string, blocks: Buffer, padding: number): void {
    const content = blocks.subarray(0, blocks.length - padding);
    // What a global header says of all entries is nothing that an extractor here would act on.
    if (type === extensionTypes.pax) for (const [key, value] of recordsIn(content)) this.#extensions.set(key, value);
    if (type === extensionTypes.longName) this.#extensions.set(pathKey, untilZero(content));
    if (type === extensionTypes.longLink) this.#extensions.set(linkKey, untilZero(content));
  }

  #entry(block: Buffer, header: TarHeader): void {
    const extensions = this.#extensions;
    this.#extensions = new Map();
    const path = extensions.get(pathKey);
    const link = extensions.get(linkKey);
    if (link) this.push(encodeLong(extensionTypes.longLink, link));
    if (path) this.push(encodeLong(extensionTypes.longName, path));
    const given = extensions.get(sizeKey);
    const size = given !== undefined && /^\d{1,15}$/.test(given) ? Number(given) : header.size;
    this.push(rewriteHeader(block, { mode: header.mode & permissionBits, size }));
    this.#collect(path ?? header.name, extensions);
    const left = typesWithoutContent.includes(header.type) ? 0 : size + paddingFor(size);
    this.#state = left > 0 ? { part: 'content', left } : { part: 'header' };
  }

  #collect(name: string, extensions: Map<string, string>): void {
    const attributes = [...extensions].filter(([key]) => key.startsWith(xattrPrefix));
    if (attributes.length === 0) return;
    for (const [key, value] of attributes) this.#attributeBytes += key.length + value.length;
    if (this.#attributeBytes > mostAttributeBytes) return;
    this.entryAttributes.push({
      name,
      attributes: attributes.map(([key, value]) => [key.slice(xattrPrefix.length), value]),
    });
  }
}

/** Undefined for what is no header: a block of zeros, which ends an archive, or one that is damaged. */
function headerIn(block: Buffer): TarHeader | undefined {
  try {
    return decodeHeader(block);
  } catch {
    return undefined;
  }
}

/** None when they are damaged: the extractor then has what the header itself says. */
function recordsIn(content: Buffer): ReadonlyMap<string, string> {
  try {
    return decodePax(content);
  } catch {
    return new Map();
  }
}

function untilZero(text: Buffer): string {
  const end = text.indexOf(0);
  return text.toString('latin1', 0, end < 0 ? text.length : end);
}
