/**
 * The wire of tar archives: ustar headers with GNU's and POSIX's extensions. Nothing else knows an offset of it.
 *
 * Names are bytes. They are kept as strings with one character per byte (latin1), so that what is no UTF-8 stays what
 * it was.
 */

/** An archive is damaged, or has something that cannot be unpacked. */
export class TarError extends Error {}

export const blockBytes = 512;

/** What kind of thing an entry is, by the letters of the format. */
export const entryTypes = {
  file: '0',
  hardLink: '1',
  symbolicLink: '2',
  characterDevice: '3',
  blockDevice: '4',
  directory: '5',
  fifo: '6',
} as const;

/** Entries that describe the one that follows, or all that follow. */
export const extensionTypes = { pax: 'x', paxGlobal: 'g', longName: 'L', longLink: 'K' } as const;

export interface TarHeader {
  name: string;
  linkName: string;
  /** One of `entryTypes`, `extensionTypes` or a letter that is not known here. */
  type: string;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content that follow, without padding. */
  size: number;
  /** Seconds since the epoch. */
  mtime: number;
  deviceMajor: number;
  deviceMinor: number;
}

const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  prefix: [345, 155],
} as const;

const posixMagic = 'ustar\x0000';
/** What the name of an extended attribute has before it in a record of a pax header. */
export const xattrPrefix = 'SCHILY.xattr.';
const permissionBits = 0o7777;
const mostShortNameBytes = 100;

/**
 * Reads one block; undefined for a block of zeros, two of which end an archive.
 *
 * @throws TarError when it is no header
 */
export function decodeHeader(block: Buffer): TarHeader | undefined {
  if (block[0] === 0 && block.every((byte) => byte === 0)) return undefined;
  if (checksumOf(block) !== Number.parseInt(textIn(block, 'checksum'), 8)) {
    throw new TarError('not a tar archive, or a damaged one');
  }
  const isPosix = textIn(block, 'magic').startsWith('ustar') && block[fields.magic[0] + 5] === 0;
  const prefix = isPosix ? textIn(block, 'prefix') : '';
  const name = textIn(block, 'name');
  const type = textIn(block, 'type') || entryTypes.file;
  const isDevice = type === entryTypes.characterDevice || type === entryTypes.blockDevice;
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: textIn(block, 'linkName'),
    type: type === '7' ? entryTypes.file : type,
    mode: numberIn(block, 'mode') & permissionBits,
    uid: numberIn(block, 'uid'),
    gid: numberIn(block, 'gid'),
    size: numberIn(block, 'size'),
    mtime: Math.max(signedNumberIn(block, 'mtime'), 0),
    deviceMajor: isDevice ? numberIn(block, 'deviceMajor') : 0,
    deviceMinor: isDevice ? numberIn(block, 'deviceMinor') : 0,
  };
}

/** Writes mode and size of a header anew into its own block; all else stays, names of owners among it. */
export function rewriteHeader(block: Buffer, header: Pick<TarHeader, 'mode' | 'size'>): Buffer {
  const rewritten = Buffer.from(block);
  writeNumber(rewritten, 'mode', header.mode);
  writeNumber(rewritten, 'size', header.size);
  writeChecksum(rewritten);
  return rewritten;
}

/** An entry's blocks up to its content: the header, and before it what does not fit in there. */
export function encodeEntry(header: TarHeader, xattrs: ReadonlyMap<string, string> = noXattrs): Buffer {
  const parts: Buffer[] = [];
  if (xattrs.size > 0) {
    const records = [...xattrs].map(([name, value]) => encodePaxRecord(`${xattrPrefix}${name}`, value));
    parts.push(encodeExtension(extensionTypes.pax, 'PaxHeaders/entry', Buffer.concat(records)));
  }
  if (header.linkName.length > mostShortNameBytes) parts.push(encodeLong(extensionTypes.longLink, header.linkName));
  if (header.name.length > mostShortNameBytes) parts.push(encodeLong(extensionTypes.longName, header.name));
  if (parts.length === 0) return encodeHeader(header);
  return Buffer.concat([...parts, encodeHeader(header)]);
}

/** What most entries have. */
export const noXattrs: ReadonlyMap<string, string> = new Map();

/** What ends an archive. */
export const endOfArchive = Buffer.alloc(2 * blockBytes);

/** Zeros that fill the last block of a content. */
export function paddingFor(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes;
}

/**
 * Reads the records of a POSIX extended header.
 *
 * @throws TarError when they are damaged
 */
export function decodePax(content: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  let position = 0;
  while (position < content.length) {
    const space = content.indexOf(0x20, position);
    const digits = space < 0 ? '' : content.toString('latin1', position, space);
    const length = Number(digits);
    const end = position + length;
    if (!/^\d{1,10}$/.test(digits) || end > content.length || end <= space + 1) throw damagedPax();
    const record = content.toString('latin1', space + 1, end - 1);
    const equals = record.indexOf('=');
    if (equals < 1) throw damagedPax();
    records.set(record.slice(0, equals), record.slice(equals + 1));
    position = end;
  }
  return records;
}

/** The header as the records that stand before it say; unknown records have no effect. @throws TarError */
export function applyPax(header: TarHeader, records: ReadonlyMap<string, string>): TarHeader {
  const number = (key: string, otherwise: number) => {
    const text = records.get(key);
    if (text === undefined || text === '') return otherwise;
    const value = Math.floor(Number(text));
    if (!Number.isSafeInteger(value)) throw damagedPax();
    return value;
  };
  return {
    ...header,
    name: records.get('path') || header.name,
    linkName: records.get('linkpath') || header.linkName,
    uid: number('uid', header.uid),
    gid: number('gid', header.gid),
    size: number('size', header.size),
    mtime: Math.max(number('mtime', header.mtime), 0),
  };
}

/** Extended attributes among the records, by their own names. */
export function xattrsIn(records: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  if (records.size === 0) return noXattrs;
  const found = [...records].filter(([key]) => key.startsWith(xattrPrefix));
  return new Map(found.map(([key, value]) => [key.slice(xattrPrefix.length), value]));
}

/** Whether the records say that the content is only the written parts of a sparse file. */
export function isSparse(records: ReadonlyMap<string, string>): boolean {
  return [...records.keys()].some((key) => key.startsWith('GNU.sparse.'));
}

function damagedPax(): TarError {
  return new TarError('damaged extended header');
}

function encodePaxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  // The length counts its own digits.
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.from(`${length}${rest}`, 'latin1');
}

/** The entry that gives the one after it a longer name, or a longer target of its link, in GNU's way. */
export function encodeLong(type: 'L' | 'K', text: string): Buffer {
  return encodeExtension(type, '././@LongLink', Buffer.from(`${text}\0`, 'latin1'));
}

function encodeExtension(type: string, name: string, content: Buffer): Buffer {
  const header = encodeHeader({
    name,
    linkName: '',
    type,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: content.length,
    mtime: 0,
    deviceMajor: 0,
    deviceMinor: 0,
  });
  return Buffer.concat([header, content, Buffer.alloc(paddingFor(content.length))]);
}

function encodeHeader(header: TarHeader): Buffer {
  // From a pool: there are as many as there are files.
  const block = Buffer.allocUnsafe(blockBytes).fill(0);
  block.write(header.name.slice(0, mostShortNameBytes), fields.name[0], 'latin1');
  for (const field of ['mode', 'uid', 'gid', 'size', 'mtime', 'deviceMajor', 'deviceMinor'] as const) {
    writeNumber(block, field, header[field]);
  }
  block.write(header.type, fields.type[0], 'latin1');
  block.write(header.linkName.slice(0, mostShortNameBytes), fields.linkName[0], 'latin1');
  block.write(posixMagic, fields.magic[0], 'latin1');
  writeChecksum(block);
  return block;
}

function writeChecksum(block: Buffer): void {
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, fields.checksum[0], 'latin1');
}

/** The sum of all bytes, with the checksum's own field counted as spaces. */
function checksumOf(block: Buffer): number {
  const [start, length] = fields.checksum;
  let sum = 0x20 * length;
  for (let index = 0; index < blockBytes; index += 1) {
    if (index < start || index >= start + length) sum += block[index]!;
  }
  return sum;
}

function textIn(block: Buffer, field: keyof typeof fields): string {
  const [start, length] = fields[field];
  const text = block.toString('latin1', start, start + length);
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

function numberIn(block: Buffer, field: keyof typeof fields): number {
  const value = signedNumberIn(block, field);
  if (value < 0) throw new TarError(`a negative ${field} in a header`);
  return value;
}

/** Octal digits, or, with the first bit set, a two's complement number in base 256. */
function signedNumberIn(block: Buffer, field: keyof typeof fields): number {
  const [start, length] = fields[field];
  const first = block[start]!;
  if ((first & 0x80) !== 0) {
    let value = BigInt.asIntN(7, BigInt(first & 0x7f));
    for (const byte of block.subarray(start + 1, start + length)) value = value * 256n + BigInt(byte);
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) {
      throw new TarError(`an impossible ${field} in a header`);
    }
    return Number(value);
  }
  const digits = textIn(block, field).trim();
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw new TarError(`no number for the ${field} in a header`);
  return Number.parseInt(digits, 8);
}

function writeNumber(block: Buffer, field: keyof typeof fields, value: number): void {
  const [start, length] = fields[field];
  const octal = value.toString(8);
  if (octal.length < length) {
    block.write(octal.padStart(length - 1, '0'), start, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let index = start + length - 1; index > start; index -= 1) {
    block[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[start] = 0x80;
}
