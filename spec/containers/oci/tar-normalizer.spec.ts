import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { extract, type Header, pack } from 'tar-stream';
import { TarNormalizer } from '../../../lib/containers/oci/streams/tar-normalizer.js';

interface Entry {
  header: Header;
  content: string;
}

async function archiveOf(
  entries: [header: Parameters<ReturnType<typeof pack>['entry']>[0], content?: string][],
): Promise<Buffer> {
  const tar = pack();
  for (const [header, content] of entries) tar.entry(header, content ?? '');
  tar.finalize();
  return buffer(tar as unknown as Readable);
}

async function normalized(archive: Buffer, pieceLength = archive.length) {
  const pieces = Array.from({ length: Math.ceil(archive.length / pieceLength) }, (_, index) =>
    archive.subarray(index * pieceLength, (index + 1) * pieceLength),
  );
  const normalizer = Readable.from(pieces).pipe(new TarNormalizer());
  return { bytes: await buffer(normalizer), entryAttributes: normalizer.entryAttributes };
}

async function entriesOf(archive: Buffer): Promise<Entry[]> {
  const extraction = extract();
  extraction.end(archive);
  const entries: Entry[] = [];
  for await (const entry of extraction)
    entries.push({ header: entry.header, content: (await buffer(entry)).toString() });
  return entries;
}

describe('a tar stream that is made simple', () => {
  const longName = `${'directory/'.repeat(30)}ü`;
  const longTarget = 'target'.repeat(50);

  it('keeps names, targets and contents, whatever their length and however it is cut', async () => {
    const archive = await archiveOf([
      [{ name: 'short', mode: 0o644 }, 'a'.repeat(513)],
      [{ name: longName, mode: 0o600 }, 'long'],
      [{ name: 'link', type: 'symlink', linkname: longTarget }],
      [{ name: 'directory/', type: 'directory', mode: 0o755 }],
    ]);
    for (const length of [archive.length, 1, 511, 512, 700]) {
      const { bytes } = await normalized(archive, length);
      const entries = await entriesOf(bytes);
      expect(entries.map(({ header }) => header.name)).to.deep.equal(['short', longName, 'link', 'directory/']);
      expect(entries.map(({ content }) => content)).to.deep.equal(['a'.repeat(513), 'long', '', '']);
      expect(entries[2]?.header.linkname).to.equal(longTarget);
      // Only a simple extractor's own kinds are left.
      expect(bytes.includes('path=')).to.equal(false);
    }
  });

  it('has modes with nothing but permissions', async () => {
    const { bytes } = await normalized(
      await archiveOf([[{ name: 'f', mode: 0o6755 }, 'x'], [{ name: 'd/', type: 'directory', mode: 0o1777 }]]),
    );
    expect((await entriesOf(bytes)).map(({ header }) => header.mode)).to.deep.equal([0o755, 0o777]);
  });

  it('tells of extended attributes, and of whom they are', async () => {
    const { entryAttributes } = await normalized(
      await archiveOf([
        [{ name: 'plain' }, 'x'],
        [{ name: 'rich', pax: { 'SCHILY.xattr.user.color': 'blue=green', comment: 'c' } }, 'x'],
      ]),
    );
    expect(entryAttributes).to.deep.equal([{ name: 'rich', attributes: [['user.color', 'blue=green']] }]);
  });

  it('leaves what is no archive, what follows one and what is cut off as it is', async () => {
    const garbage = Buffer.alloc(3_000, 'garbage');
    expect((await normalized(garbage)).bytes.equals(garbage)).to.equal(true);
    const archive = await archiveOf([[{ name: 'f', mode: 0o644 }, 'content']]);
    const followed = Buffer.concat([archive, garbage]);
    const { bytes } = await normalized(followed, 333);
    expect(bytes.length).to.equal(followed.length);
    expect(bytes.subarray(archive.length).equals(garbage)).to.equal(true);
    for (const length of [0, 100, 512, 515]) {
      expect((await normalized(archive.subarray(0, length), 64)).bytes.length, `${length}`).to.equal(length);
    }
  });

  it('is not misled by sizes and lengths that cannot be', async () => {
    const archive = await archiveOf([[{ name: 'f', pax: { comment: 'c' } }, 'content']]);
    const lying = Buffer.from(archive);
    lying.write('99999999999\0', 124, 'latin1');
    expect((await normalized(lying)).bytes.length).to.equal(lying.length);
    const malformed = Buffer.from(archive);
    malformed.write('999999 path=', 512, 'latin1');
    expect((await entriesOf((await normalized(malformed)).bytes))[0]?.content).to.equal('content');
  });
});
