import { expect } from 'chai';
import fc from 'fast-check';
import { ImageError } from '../../../../lib/containers/errors.js';
import { decompressed } from '../../../../lib/containers/oci/images/layers/decompression.js';
import { LayerFilter } from '../../../../lib/containers/oci/images/layers/layer-filter.js';
import { LowerView } from '../../../../lib/containers/oci/images/layers/lower-view.js';
import {
  encodeEntry,
  endOfArchive,
  entryTypes,
  TarError,
  type TarHeader,
} from '../../../../lib/containers/oci/images/tar/tar-format.js';
import { readTar, type TarEntry } from '../../../../lib/containers/oci/images/tar/tar-reader.js';
import { tarOf } from '../../../support/image-layout.js';
import { failureOf } from '../../engine-contract.js';

const header: TarHeader = {
  name: 'file',
  linkName: '',
  type: entryTypes.file,
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  deviceMajor: 0,
  deviceMinor: 0,
};

/** In pieces that do not agree with blocks. */
async function* inPieces(archive: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < archive.length; start += length) yield archive.subarray(start, start + length);
}

async function entriesOf(
  archive: Buffer,
  pieceLength = 1000,
): Promise<(Omit<TarEntry, 'content'> & { text: string })[]> {
  const entries = [];
  for await (const { content, ...entry } of readTar(inPieces(archive, pieceLength))) {
    const parts: Buffer[] = [];
    for await (const part of content()) parts.push(part);
    entries.push({ ...entry, text: Buffer.concat(parts).toString() });
  }
  return entries;
}

describe('tar archives', () => {
  it('keep whatever an entry can have, whatever the pieces are that they come in', async () => {
    const entries: [TarHeader, Map<string, string>][] = [
      [{ ...header, uid: 4_294_967_294, gid: 4_294_967_293, mtime: 8_589_934_592 }, new Map()],
      [{ ...header, name: 'a'.repeat(255), mode: 0o7777 }, new Map()],
      [{ ...header, name: 'no-utf8-\xff\xfe', linkName: 'l'.repeat(300), type: entryTypes.symbolicLink }, new Map()],
      [
        { ...header, name: 'x' },
        new Map([['security.capability', Buffer.from([...Array(256).keys()]).toString('latin1')]]),
      ],
      [{ ...header, type: entryTypes.blockDevice, deviceMajor: 4095, deviceMinor: 1_048_575 }, new Map()],
    ];
    const archive = Buffer.concat([...entries.map(([one, xattrs]) => encodeEntry(one, xattrs)), endOfArchive]);
    for (const length of [1, 7, 512, 100_000]) {
      const read = await entriesOf(archive, length);
      expect(read.map((entry) => [entry.header, entry.xattrs])).to.deep.equal(entries);
    }
  });

  it('are read as others write them: with prefixes, long names, extended headers and without an end', async () => {
    const long = `${'d'.repeat(90)}/${'f'.repeat(90)}`;
    const archive = await tarOf([
      { name: long, content: 'one' },
      { name: 'ü'.repeat(200), content: 'two' },
      { name: 'three', content: '3', pax: { mtime: '1234.5678', uid: '3000000', comment: 'x' } },
    ]);
    const read = await entriesOf(archive.subarray(0, -1024));
    expect(read.map(({ header: { name }, text }) => [Buffer.from(name, 'latin1').toString(), text])).to.deep.equal([
      [long, 'one'],
      ['ü'.repeat(200), 'two'],
      ['three', '3'],
    ]);
    expect(read[2]!.header).to.include({ mtime: 1234, uid: 3_000_000 });
  });

  it('are refused, and nothing else, when any bytes of them are changed', async () => {
    const archive = await tarOf([
      { name: 'dir/', type: 'directory' },
      { name: 'dir/file', content: 'x'.repeat(700), pax: { 'SCHILY.xattr.user.a': 'b' } },
      { name: 'link', type: 'symlink', linkname: 'dir' },
      { name: 'hard', type: 'link', linkname: 'dir/file' },
    ]);
    const change = fc.record({ at: fc.nat({ max: archive.length - 1 }), byte: fc.nat({ max: 255 }) });
    const changes = fc.array(change, { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(changes, fc.nat({ max: archive.length }), async (list, length) => {
        const damaged = Buffer.from(archive);
        for (const { at, byte } of list) damaged[at] = byte;
        const filter = new LayerFilter({ lower: new LowerView([]) });
        try {
          for await (const _ of filter.filter(inPieces(damaged.subarray(0, length), 512)));
        } catch (error) {
          expect(error).to.be.instanceOf(TarError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('are refused when they have too many entries', async () => {
    async function* without(end: number) {
      for (let number = 0; number < end; number += 1) yield encodeEntry({ ...header, name: `file-${number}` });
    }
    const filtered = async (entries: number) => {
      const lower = new LowerView([]);
      const filter = new LayerFilter({ lower, maximumEntries: 1000 });
      for await (const _ of filter.filter(without(entries)));
    };
    await filtered(999);
    expect(await failureOf(filtered(1000)))
      .to.be.instanceOf(TarError)
      .with.property('message', 'more than 1000 entries');
  });

  it('are refused when too much of them would have to be kept in memory', async () => {
    async function* directories(end: number) {
      for (let number = 0; number < end; number += 1) {
        yield encodeEntry({ ...header, name: `${'d'.repeat(200)}-${number}/`, type: entryTypes.directory });
      }
    }
    const filtered = async (entries: number) => {
      const lower = new LowerView([]);
      const filter = new LayerFilter({ lower, maximumKeptBytes: 1_000_000 });
      for await (const _ of filter.filter(directories(entries)));
    };
    await filtered(2_000);
    expect(await failureOf(filtered(4_000)))
      .to.be.instanceOf(TarError)
      .with.property('message', 'too many directories and links, or too long names');
  });

  it('of very many files are taken in a bounded memory', async () => {
    // `ENTRIES=1000000` for the long form.
    const entries = Number(process.env.ENTRIES ?? 200_000);
    async function* files(end: number) {
      for (let number = 0; number < end; number += 1) {
        yield encodeEntry({ ...header, name: `${number % 10_000}/${number}` });
      }
    }
    const filter = new LayerFilter({ lower: new LowerView([]) });
    let most = 0;
    let bytes = 0;
    for await (const piece of filter.filter(files(entries))) {
      bytes += piece.length;
      most = Math.max(most, process.memoryUsage().heapUsed);
    }
    expect(bytes).to.be.above(512 * entries);
    expect(most / 2 ** 20).to.be.below(500);
  }).timeout(120_000);

  it('with sparse files or strange types are refused by name', async () => {
    const sparse = await tarOf([{ name: 'lastlog', pax: { 'GNU.sparse.major': '1' } }]);
    const strange = Buffer.concat([encodeEntry({ ...header, name: 'odd', type: 'S' }), endOfArchive]);
    const all = async (archive: Buffer) => {
      const filter = new LayerFilter({ lower: new LowerView([]) });
      for await (const _ of filter.filter(inPieces(archive, 512)));
    };
    expect(await failureOf(all(sparse)))
      .to.be.instanceOf(TarError)
      .with.property('message', '"lastlog": sparse files cannot be unpacked');
    expect(await failureOf(all(strange)))
      .to.be.instanceOf(TarError)
      .with.property('message', '"odd": entries of type "S" cannot be unpacked');
  });

  it('that end in the middle of their compressed data are said to be damaged', async () => {
    for (const magic of [
      [0x1f, 0x8b, 8, 0, 0, 0],
      [0x28, 0xb5, 0x2f, 0xfd, 4],
    ]) {
      const all = async () => {
        for await (const _ of decompressed(inPieces(Buffer.from(magic), 1)));
      };
      expect(await failureOf(all()))
        .to.be.instanceOf(ImageError)
        .with.property('message')
        .that.includes('damaged');
    }
  });
});
