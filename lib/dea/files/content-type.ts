import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';

/** Bytes that are enough to tell a file's type by. */
export const sniffBytes = 512;

/** Where systems keep their table of types; a later file wins. */
const tablePaths = ['/etc/mime.types', '/etc/apache2/mime.types', '/etc/apache/mime.types'];

/** Types that hold wherever the system's table does not say otherwise. */
const builtInTypes: [extension: string, type: string][] = [
  ['.css', 'text/css'],
  ['.gif', 'image/gif'],
  ['.htm', 'text/html'],
  ['.html', 'text/html'],
  ['.jpg', 'image/jpeg'],
  ['.js', 'application/x-javascript'],
  ['.json', 'application/json'],
  ['.log', 'text/plain'],
  ['.pdf', 'application/pdf'],
  ['.png', 'image/png'],
  ['.txt', 'text/plain'],
  ['.xml', 'text/xml'],
];

/** Content types by file name extension, as the host has them (docs/protocol/dea.md §20.4). */
export class ContentTypes {
  private readonly types = new Map(builtInTypes.map(([extension, type]) => [extension, withCharset(type)]));

  /** Reads the system's tables; those that are missing add nothing. */
  static async load(paths = tablePaths): Promise<ContentTypes> {
    const contentTypes = new ContentTypes();
    for (const path of paths) contentTypes.add(await readFile(path, 'utf8').catch(() => ''));
    return contentTypes;
  }

  /** Adds the lines of a table: a type and its extensions, `#` begins a comment. */
  add(table: string): void {
    for (const line of table.split('\n')) {
      const [type, ...extensions] = line.replace(/#.*/, '').trim().split(/\s+/);
      if (!type?.includes('/')) continue;
      for (const extension of extensions) this.types.set(`.${extension}`, withCharset(type));
    }
  }

  /** The type of a file with this name; undefined when its extension says nothing. */
  ofName(path: string): string | undefined {
    // Of `.profile` all is extension.
    const extension = extname(`x${path.slice(path.lastIndexOf('/') + 1)}`);
    return this.types.get(extension) ?? this.types.get(extension.toLowerCase());
  }
}

function withCharset(type: string): string {
  return type.startsWith('text/') && !type.includes('charset') ? `${type}; charset=utf-8` : type;
}

const plainText = 'text/plain; charset=utf-8';
const htmlTags = '!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P|!--';

/** Beginnings of text files. */
const textSignatures: [RegExp, string][] = [
  [new RegExp(`^[\\t\\n\\f\\r ]*<(?:${htmlTags})[ >]`, 'i'), 'text/html; charset=utf-8'],
  [/^[\t\n\f\r ]*<\?xml/, 'text/xml; charset=utf-8'],
  [/^%PDF-/, 'application/pdf'],
  [/^%!PS-Adobe-/, 'application/postscript'],
];

/** Beginnings of other files, in hexadecimal; the first that fits tells the type. */
const signatures: [RegExp, string][] = [
  [/^feff..../, 'text/plain; charset=utf-16be'],
  [/^fffe..../, 'text/plain; charset=utf-16le'],
  [/^efbbbf../, plainText],
  [/^474946383[79]61/, 'image/gif'],
  [/^89504e470d0a1a0a/, 'image/png'],
  [/^ffd8ff/, 'image/jpeg'],
  [/^424d/, 'image/bmp'],
  [/^52494646.{8}574542505650/, 'image/webp'],
  [/^00000100/, 'image/vnd.microsoft.icon'],
  [/^52494646.{8}57415645/, 'audio/wave'],
  [/^464f524d.{8}41494646/, 'audio/aiff'],
  [/^2e736e64/, 'audio/basic'],
  [/^4f67675300/, 'application/ogg'],
  [/^4d54686400000006/, 'audio/midi'],
  [/^494433/, 'audio/mpeg'],
  [/^52494646.{8}41564920/, 'video/avi'],
  // Any of the brands of the file may be the one, but not the version number after the first.
  [/^.{8}66747970(?:6d7034|.{16}(?:.{8})*?6d7034)/, 'video/mp4'],
  [/^1a45dfa3/, 'video/webm'],
  [/^526172201a0700/, 'application/x-rar-compressed'],
  [/^504b0304/, 'application/zip'],
  [/^1f8b08/, 'application/x-gzip'],
];

/** The type of a file that begins with these bytes; text unless something in it is no text. */
export function sniffContentType(beginning: Buffer): string {
  const bytes = beginning.subarray(0, sniffBytes);
  const text = bytes.toString('latin1');
  const hexadecimal = bytes.toString('hex');
  const type =
    textSignatures.find(([signature]) => signature.test(text)) ??
    signatures.find(([signature]) => signature.test(hexadecimal));
  if (type) return type[1];
  return bytes.some(isBinary) ? 'application/octet-stream' : plainText;
}

/** Control characters are no text, except tab, line ends, form feed and escape. */
function isBinary(byte: number): boolean {
  return byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d, 0x1b].includes(byte);
}
