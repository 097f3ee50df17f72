import { mkdir, mkdtemp, open, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { humanSize, listDirectory } from '../../../lib/dea/files/listing.js';

describe('Directory listing', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'listing-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  async function list(): Promise<string> {
    const handle = await open(directory, 'r');
    try {
      return (await listDirectory(handle)).toString();
    } finally {
      await handle.close();
    }
  }

  const sizes: [number, string][] = [
    [0, '0B'],
    [10, '10B'],
    [1023, '1023B'],
    [1024, '1.0K'],
    [1536, '1.5K'],
    [1280, '1.2K'],
    [1408, '1.4K'],
    [1024 * 1024 - 1, '1024.0K'],
    [3_565_158, '3.4M'],
    [3 * 1024 ** 3, '3.0G'],
    [5 * 1024 ** 4, '5.0T'],
  ];
  for (const [bytes, text] of sizes) {
    it(`tells ${bytes} bytes as ${text}`, () => {
      expect(humanSize(bytes)).to.equal(text);
    });
  }

  it('has a line per entry, by the order of bytes, with dot files and without following links', async () => {
    await writeFile(join(directory, '.dot'), 'xx');
    await mkdir(join(directory, '.hid'));
    await writeFile(join(directory, 'app.log'), '0123456789');
    await writeFile(join(directory, 'k1024'), '');
    await truncate(join(directory, 'k1024'), 1024);
    await symlink('/root', join(directory, 'linkfile'));
    await mkdir(join(directory, 'sub'));
    expect(await list()).to.equal(
      '.dot                                        2B\n' +
        '.hid/                                        -\n' +
        'app.log                                    10B\n' +
        'k1024                                     1.0K\n' +
        'linkfile                                    5B\n' +
        'sub/                                         -\n',
    );
  });

  it('counts characters and does not cut long names', async () => {
    const long = 'x'.repeat(40);
    await writeFile(join(directory, long), '');
    await writeFile(join(directory, 'Zürich🚲'), '');
    await writeFile(join(directory, 'a'), '');
    expect(await list()).to.equal(
      `${'Zürich🚲'}${' '.repeat(28)}         0B\n${'a'.padEnd(35)}         0B\n${long}         0B\n`,
    );
  });

  it('keeps names that are no text', async () => {
    await writeFile(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0x61, 0xff])]), '');
    const handle = await open(directory, 'r');
    const listing = await listDirectory(handle);
    await handle.close();
    expect(listing.subarray(0, 3)).to.deep.equal(Buffer.from([0x61, 0xff, 0x20]));
  });

  it('is empty for an empty directory', async () => {
    expect(await list()).to.equal('');
  });
});
