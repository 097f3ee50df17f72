import { encodeEntry, endOfArchive, noXattrs, paddingFor } from '../images/tar/tar-format.js';
import { readTar } from '../images/tar/tar-reader.js';

/** Extended attributes by name, by the plain name of a file; values are bytes, one character each. */
export type FileAttributes = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** An archive with extended attributes put before the entries that have them. */
export async function* withAttributes(
  archive: AsyncIterable<Buffer>,
  attributes: FileAttributes,
): AsyncGenerator<Buffer> {
  for await (const { header, content } of readTar(archive)) {
    yield encodeEntry(header, attributes.get(plainName(header.name)) ?? noXattrs);
    yield* content();
    yield Buffer.alloc(paddingFor(header.size));
  }
  yield endOfArchive;
}

/** The name of an entry without what archives and tools put around it differently. */
export function plainName(name: string): string {
  return name.replace(/^(\.?\/+)+/, '').replace(/\/+$/, '') || '.';
}
