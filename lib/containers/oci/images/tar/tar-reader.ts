import { ByteReader } from './byte-reader.js';
import {
  applyPax,
  blockBytes,
  decodeHeader,
  decodePax,
  extensionTypes,
  isSparse,
  noXattrs,
  paddingFor,
  TarError,
  type TarHeader,
  xattrsIn,
} from './tar-format.js';

/** An entry with all that stood before it applied. */
export interface TarEntry {
  header: TarHeader;
  /** Extended attributes by name; values are bytes, one character each. */
  xattrs: ReadonlyMap<string, string>;
  /** The content, which must be read to its end or not at all before the next entry is asked for. */
  content: () => AsyncIterable<Buffer>;
}

/** A name has at most 4096 bytes; attributes may be larger, and nobody needs a mebibyte of them. */
const mostExtensionBytes = 1024 * 1024;

/**
 * The entries of an archive, in order, while it streams by; reads to the end of the stream, beyond that of the archive.
 *
 * @throws TarError for a damaged archive, and for one with sparse files
 */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(source);
  try {
    let extensions = new Extensions();
    for (let header = await readHeader(reader); header; header = await readHeader(reader)) {
      if (isExtension(header.type)) {
        await extensions.add(header, reader);
        continue;
      }
      const entry = extensions.applyTo(header);
      extensions = new Extensions();
      let isRead = false;
      const { size } = entry.header;
      const content = () => {
        isRead = true;
        return reader.pieces(size);
      };
      yield { ...entry, content };
      if (size === 0) continue;
      if (!isRead) for await (const _ of reader.pieces(size));
      await reader.read(paddingFor(size));
    }
    // What follows the archive's end counts for the digest, and its sender waits until it was taken.
    await reader.drain();
  } finally {
    await reader.close();
  }
}

/** Undefined at the end, which some archives do not mark. */
async function readHeader(reader: ByteReader): Promise<TarHeader | undefined> {
  if (await reader.isAtEnd()) return undefined;
  return decodeHeader(await reader.read(blockBytes));
}

function isExtension(type: string): boolean {
  return (Object.values(extensionTypes) as string[]).includes(type);
}

/** What is known about the next entry before its own header comes. */
class Extensions {
  #records: ReadonlyMap<string, string> = noXattrs;
  #longName: string | undefined;
  #longLink: string | undefined;

  async add({ type, size }: TarHeader, reader: ByteReader): Promise<void> {
    if (size > mostExtensionBytes) throw new TarError('an extended header is too large');
    const content = await reader.read(size);
    await reader.read(paddingFor(size));
    if (type === extensionTypes.pax) this.#records = decodePax(content);
    if (type === extensionTypes.longName) this.#longName = untilNul(content);
    if (type === extensionTypes.longLink) this.#longLink = untilNul(content);
  }

  applyTo(header: TarHeader): Pick<TarEntry, 'header' | 'xattrs'> {
    const named = {
      ...header,
      name: this.#longName ?? header.name,
      linkName: this.#longLink ?? header.linkName,
    };
    const applied = applyPax(named, this.#records);
    if (isSparse(this.#records)) throw new TarError(`${showName(applied.name)}: sparse files cannot be unpacked`);
    return { header: applied, xattrs: xattrsIn(this.#records) };
  }
}

function untilNul(content: Buffer): string {
  const end = content.indexOf(0);
  return content.toString('latin1', 0, end < 0 ? content.length : end);
}

/** A name of an archive as people read it, shortened. */
export function showName(name: string): string {
  const text = Buffer.from(name, 'latin1').toString();
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}
