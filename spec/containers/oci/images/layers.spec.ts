import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { ImageError } from '../../../../lib/containers/errors.js';
import { createImages, type ImagesOptions } from '../../../../lib/containers/oci/images/images.js';
import type { Image, ImageOptions, Images } from '../../../../lib/containers/oci/ports.js';
import { ownIds, rootOutside } from '../../../../lib/containers/oci/users/id-map.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { eventually } from '../../../support/eventually.js';
import { type LayerEntry, type LayoutOptions, tarOf, writeLayout } from '../../../support/image-layout.js';
import { failureOf } from '../../engine-contract.js';

const opaqueMarker = '.wh..wh..opq';
/** cap_net_raw=ep as the kernel keeps it. */
const capability = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0';

/** The same for whom root of a container with a user namespace is outside. */
const shiftedCapability = '\x01\0\0\x03\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xfe\xff\xff\xff';

describe('layers of images', () => {
  let base: string;
  let store: string;
  let images: Images;
  const opened: Images[] = [];

  const open = async (options: Partial<ImagesOptions> = {}): Promise<Images> => {
    const created = createImages({ directory: store, logger: silentLogger, ...options });
    opened.push(created);
    await created.start();
    return created;
  };
  const layout = async (layers: LayerEntry[][], options: LayoutOptions = {}): Promise<string> => {
    const directory = join(base, 'layout');
    writeLayout(directory, await Promise.all(layers.map(tarOf)), options);
    return `oci://${directory}`;
  };
  const acquire = async (layers: LayerEntry[][], options: ImageOptions = {}, layoutOptions: LayoutOptions = {}) =>
    images.acquire(await layout(layers, layoutOptions), options);
  const refusal = async (layers: LayerEntry[][], layoutOptions: LayoutOptions = {}): Promise<string> => {
    const failure = await failureOf(acquire(layers, {}, layoutOptions));
    expect(failure).to.be.instanceOf(ImageError);
    return (failure as Error).message;
  };
  const unfinished = () => readdirSync(join(store, 'unfinished'));
  const stored = () => readdirSync(join(store, 'layers'));
  const attribute = (path: string, name: string) =>
    execFileSync('getfattr', ['--no-dereference', '--only-values', '--name', name, path], { stdio: 'pipe' }).toString(
      'latin1',
    );
  const capabilityOf = (path: string) => attribute(path, 'security.capability');
  const top = (image: Image) => image.lowerDirectories[0]!;
  /** Shows an image as a container sees it, while `look` looks. */
  const merged = (image: Image, look: (root: string) => void) => {
    const target = join(base, 'merged');
    mkdirSync(target, { recursive: true });
    const empty = join(base, 'empty');
    mkdirSync(empty, { recursive: true });
    execFileSync('mount', [
      ...['-t', 'overlay', 'overlay', '-o', `metacopy=on,lowerdir=${[...image.lowerDirectories, empty].join(':')}`],
      target,
    ]);
    try {
      look(target);
    } finally {
      execFileSync('umount', [target]);
    }
  };

  beforeEach(async () => {
    base = mkdtempSync(join(tmpdir(), 'images-'));
    store = join(base, '@images');
    images = await open();
  });

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((created) => created.stop()));
    rmSync(base, { recursive: true });
  });

  describe('are unpacked', () => {
    it('with owners, modes, times, links, capabilities, dotfiles and names of any length', async () => {
      const long = `${'d'.repeat(120)}/${'f'.repeat(200)}`;
      const image = await acquire([
        [
          { name: './', type: 'directory', mode: 0o750, uid: 7, gid: 8 },
          { name: '.hidden', content: 'dot', mode: 0o600, uid: 1000, gid: 1001, mtime: new Date(1_600_000_000_000) },
          { name: 'bin/', type: 'directory', mode: 0o2755 },
          { name: 'bin/su', content: 'x', mode: 0o4755 },
          { name: 'bin/again', type: 'link', linkname: 'bin/su' },
          { name: 'bin/absolute', type: 'symlink', linkname: '/bin/su' },
          { name: 'bin/upwards', type: 'symlink', linkname: '../../../etc/passwd' },
          { name: 'bin/ping', content: 'p', mode: 0o755, pax: { 'SCHILY.xattr.security.capability': capability } },
          { name: 'pipe', type: 'fifo', mode: 0o622 },
          { name: 'null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
          { name: long, content: 'deep' },
          { name: 'größe', content: 'utf-8' },
        ],
      ]);
      const at = (name: string) => join(top(image), name);
      expect(statSync(at(''))).to.include({ mode: 0o40750, uid: 7, gid: 8 });
      expect(statSync(at('.hidden'))).to.include({ mode: 0o100600, uid: 1000, gid: 1001, mtimeMs: 1_600_000_000_000 });
      expect(statSync(at('bin')).mode).to.equal(0o42755);
      expect(statSync(at('bin/su'))).to.include({ mode: 0o104755, nlink: 2, uid: 0 });
      expect(readlinkSync(at('bin/absolute'))).to.equal('/bin/su');
      expect(readlinkSync(at('bin/upwards'))).to.equal('../../../etc/passwd');
      expect(capabilityOf(at('bin/ping'))).to.equal(capability);
      expect(lstatSync(at('pipe')).isFIFO()).to.equal(true);
      expect(lstatSync(at('null'))).to.include({ rdev: 0x103, mode: 0o20666 });
      expect(readFileSync(at(long), 'utf8')).to.equal('deep');
      expect(readFileSync(at('größe'), 'utf8')).to.equal('utf-8');
      expect(unfinished()).to.deep.equal([]);
    });

    it('for a user namespace with only root shifted, beside those with real owners', async () => {
      const layers: LayerEntry[][] = [[{ name: 'root' }, { name: 'user', uid: 1000, gid: 0, mode: 0o4711 }]];
      const shifted = await acquire(layers, { idMap: ownIds });
      expect(statSync(top(shifted))).to.include({ uid: rootOutside, gid: rootOutside });
      expect(statSync(join(top(shifted), 'root'))).to.include({ uid: rootOutside, gid: rootOutside });
      expect(statSync(join(top(shifted), 'user'))).to.include({ uid: 1000, gid: rootOutside, mode: 0o104711 });
      const real = await acquire(layers);
      expect(statSync(join(top(real), 'user'))).to.include({ uid: 1000, gid: 0 });
      expect(stored()).to.have.length(2);
    });

    it('once, whoever asks at the same time and later, also another engine', async () => {
      const uri = await layout([[{ name: 'a', content: 'a' }], [{ name: 'b', content: 'b' }]]);
      const acquired = await Promise.all(Array.from({ length: 5 }, () => images.acquire(uri)));
      const times = stored().map((name) => statSync(join(store, 'layers', name, 'rootfs')).ino);
      expect(new Set(acquired.map(({ identity }) => identity)).size).to.equal(1);
      await images.stop();
      images = await open();
      const again = await images.acquire(uri);
      expect(again.identity).to.equal(acquired[0]!.identity);
      expect(stored().map((name) => statSync(join(store, 'layers', name, 'rootfs')).ino)).to.deep.equal(times);
      expect(again.bytes).to.equal(acquired[0]!.bytes).and.be.above(0);
    });

    it('once each, when images that have some in common are asked for at the same time', async () => {
      const common = await tarOf([{ name: 'common', content: 'x'.repeat(200_000) }]);
      const uris = await Promise.all(
        ['one', 'two', 'three'].map(async (name) => {
          writeLayout(join(base, name), [common, await tarOf([{ name }])]);
          return `oci://${join(base, name)}`;
        }),
      );
      const acquired = await Promise.all(uris.map((uri) => images.acquire(uri)));
      expect(stored()).to.have.length(4);
      expect(new Set(acquired.map(({ lowerDirectories }) => lowerDirectories[1])).size).to.equal(1);
    });

    it('for the others even when one of those who wait gives up', async () => {
      const uri = await layout([[{ name: 'a', content: 'a' }]]);
      const abort = new AbortController();
      const impatient = failureOf(images.acquire(uri, { signal: abort.signal }));
      const patient = images.acquire(uri);
      abort.abort(new Error('no more'));
      expect(await impatient).to.have.property('message', 'no more');
      expect(existsSync(join(top(await patient), 'a'))).to.equal(true);
    });

    it('so that later ones hide, replace and empty what earlier ones have', async () => {
      const image = await acquire([
        [
          { name: 'etc/', type: 'directory', mode: 0o700, uid: 5 },
          { name: 'etc/removed', content: 'old' },
          { name: 'etc/kept', content: 'old' },
          { name: 'data/', type: 'directory' },
          { name: 'data/old', content: 'old' },
          { name: 'tree/', type: 'directory' },
          { name: 'tree/old', content: 'old' },
          { name: 'file', content: 'old' },
        ],
        [
          { name: 'etc/.wh.removed' },
          { name: 'data/', type: 'directory', mode: 0o711, uid: 9 },
          { name: 'data/new', content: 'new' },
          { name: `data/${opaqueMarker}` },
          { name: '.wh.tree' },
          { name: 'tree/', type: 'directory' },
          { name: 'tree/new', content: 'new' },
          { name: '.wh.file' },
          { name: 'file', content: 'new' },
          { name: '.wh.never-there' },
        ],
      ]);
      merged(image, (root) => {
        expect(readdirSync(root).sort()).to.deep.equal(['data', 'etc', 'file', 'tree']);
        expect(readdirSync(join(root, 'etc'))).to.deep.equal(['kept']);
        expect(statSync(join(root, 'etc')), 'a directory that the layer left out').to.include({
          uid: 5,
          mode: 0o40700,
        });
        expect(readdirSync(join(root, 'data'))).to.deep.equal(['new']);
        expect(statSync(join(root, 'data'))).to.include({ uid: 9, mode: 0o40711 });
        expect(readdirSync(join(root, 'tree'))).to.deep.equal(['new']);
        expect(readFileSync(join(root, 'file'), 'utf8')).to.equal('new');
      });
      const removed = lstatSync(join(top(image), 'etc/removed'));
      expect({ isDevice: removed.isCharacterDevice(), number: removed.rdev }).to.deep.equal({
        isDevice: true,
        number: 0,
      });
      expect(attribute(join(top(image), 'data'), 'trusted.overlay.opaque')).to.equal('y');
    });

    it('where the links of earlier ones lead', async () => {
      const image = await acquire([
        [
          { name: 'usr/lib/', type: 'directory' },
          { name: 'usr/lib/old.so', content: 'old' },
          { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
          { name: 'climbing', type: 'symlink', linkname: '../../../../usr/lib' },
        ],
        [
          { name: 'lib/new.so', content: 'new' },
          { name: 'climbing/third.so', content: 'third' },
        ],
      ]);
      merged(image, (root) => {
        expect(readlinkSync(join(root, 'lib'))).to.equal('usr/lib');
        expect(readdirSync(join(root, 'usr/lib')).sort()).to.deep.equal(['new.so', 'old.so', 'third.so']);
      });
    });

    it('with directories behind an emptied one made anew', async () => {
      const image = await acquire([
        [
          { name: 'a/b/', type: 'directory', uid: 5 },
          { name: 'a/b/old', content: 'old' },
        ],
        [{ name: `a/${opaqueMarker}` }],
        [{ name: 'a/b/new', content: 'new' }],
      ]);
      merged(image, (root) => {
        expect(readdirSync(join(root, 'a/b'))).to.deep.equal(['new']);
        expect(statSync(join(root, 'a/b')).uid).to.equal(0);
      });
    });

    for (const [name, compress] of [
      ['nothing', (layer: Buffer) => layer],
      ['gzip', gzipSync],
      ['zstd', (layer: Buffer) => execFileSync('zstd', ['-q', '-c'], { input: layer })],
    ] as const) {
      it(`when they are compressed with ${name}`, async () => {
        const image = await acquire([[{ name: 'file', content: 'x'.repeat(100_000) }]], {}, { compress });
        expect(statSync(join(top(image), 'file')).size).to.equal(100_000);
      });
    }

    it('by hundreds', async () => {
      const count = 127;
      const image = await acquire(Array.from({ length: count }, (_, number) => [{ name: `file-${number}` }]));
      expect(image.lowerDirectories).to.have.length(count);
      expect(existsSync(join(image.lowerDirectories[0]!, `file-${count - 1}`))).to.equal(true);
    }).timeout(120_000);
  });

  describe('that nobody should unpack', () => {
    const nothingOutside = (secret: string) => {
      expect(readFileSync(secret, 'utf8')).to.equal('secret');
      expect(readdirSync(join(base, 'outside'))).to.deep.equal(['secret']);
    };
    let outside: string;

    beforeEach(() => {
      outside = join(base, 'outside');
      mkdirSync(outside);
      writeFileSync(join(outside, 'secret'), 'secret');
    });

    const hostile: [string, (outside: string) => LayerEntry[], string][] = [
      ['climb with ..', () => [{ name: '../../../outside/planted', content: 'x' }], 'leaves the image'],
      ['climb in the middle', () => [{ name: 'a/../../outside/planted', content: 'x' }], 'leaves the image'],
      [
        'go through a link of their own',
        (path) => [
          { name: 'door', type: 'symlink', linkname: path },
          { name: 'door/planted', content: 'x' },
        ],
        'two things in the same layer',
      ],
      [
        'go through a link that is a directory afterwards',
        (path) => [
          { name: 'door', type: 'symlink', linkname: path },
          { name: 'door/', type: 'directory' },
          { name: 'door/planted', content: 'x' },
        ],
        'two things in the same layer',
      ],
      [
        'replace a directory by a link',
        (path) => [
          { name: 'door/', type: 'directory' },
          { name: 'door', type: 'symlink', linkname: path },
          { name: 'door/planted', content: 'x' },
        ],
        'two things in the same layer',
      ],
      [
        'go through a hard link to a link',
        (path) => [
          { name: 'door', type: 'symlink', linkname: path },
          { name: 'gate', type: 'link', linkname: 'door' },
          { name: 'gate/planted', content: 'x' },
        ],
        'two things in the same layer',
      ],
      [
        'take a file of the host by a hard link',
        (path) => [{ name: 'mine', type: 'link', linkname: `../../../../..${path}/secret` }],
        'leaves the image',
      ],
      [
        'take a file of the host by a hard link through a link',
        (path) => [
          { name: 'door', type: 'symlink', linkname: path },
          { name: 'mine', type: 'link', linkname: 'door/secret' },
        ],
        'two things in the same layer',
      ],
      [
        'take a file of the host by an absolute hard link',
        (path) => [{ name: 'mine', type: 'link', linkname: `${path}/secret` }],
        'No such file',
      ],
      [
        'replace a link by a file',
        (path) => [
          { name: 'door', type: 'symlink', linkname: `${path}/secret` },
          { name: 'door', content: 'mine' },
        ],
        'two things in the same layer',
      ],
      ['remove what is above', () => [{ name: '.wh...' }], 'marks nothing'],
      ['have names that nobody can remove', () => [{ name: `${'d/'.repeat(1600)}f` }], 'too long'],
    ];
    for (const [what, entries, message] of hostile) {
      it(`are refused when they ${what}`, async () => {
        expect(await refusal([entries(outside)])).to.include(message);
        nothingOutside(join(outside, 'secret'));
        expect({ stored: stored(), unfinished: unfinished() }).to.deep.equal({ stored: [], unfinished: [] });
      });
    }

    it('write into themselves when they begin with a slash', async () => {
      const image = await acquire([[{ name: `${outside}/planted`, content: 'x' }]]);
      nothingOutside(join(outside, 'secret'));
      expect(readFileSync(join(top(image), outside, 'planted'), 'utf8')).to.equal('x');
    });

    it('do not write through links of the layers below', async () => {
      const image = await acquire([
        [{ name: 'door', type: 'symlink', linkname: outside }],
        [{ name: 'door/planted', content: 'x' }],
      ]);
      nothingOutside(join(outside, 'secret'));
      expect(readFileSync(join(top(image), outside, 'planted'), 'utf8')).to.equal('x');
    });

    it('lose attributes that mean something to the host', async () => {
      const image = await acquire([
        [
          {
            name: 'd/',
            type: 'directory',
            pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/etc', 'SCHILY.xattr.user.a': 'b' },
          },
        ],
      ]);
      expect(attribute(join(top(image), 'd'), 'user.a')).to.equal('b');
      expect(() => attribute(join(top(image), 'd'), 'trusted.overlay.redirect')).to.throw('No such attribute');
    });

    it('are refused when they end in the middle, or their sizes lie', async () => {
      const whole = await tarOf([{ name: 'file', content: 'x'.repeat(5000) }]);
      const path = join(base, 'cut.tar');
      writeFileSync(path, whole.subarray(0, 2000));
      expect(await failureOf(images.acquire(path)))
        .to.be.instanceOf(ImageError)
        .with.property('message')
        .that.includes('ends in the middle');
      writeFileSync(path, gzipSync(whole).subarray(0, 60));
      expect(await failureOf(images.acquire(path))).to.be.instanceOf(ImageError);
      writeFileSync(path, 'no archive at all'.repeat(1000));
      expect(await failureOf(images.acquire(path)))
        .to.be.instanceOf(ImageError)
        .with.property('message')
        .that.includes('not a tar archive');
      const lying = await refusal([[{ name: 'a' }]], { tamper: { manifest: ({ layers }) => (layers[0]!.size -= 1) } });
      expect(lying).to.include('more than its');
      expect({ stored: stored(), unfinished: unfinished() }).to.deep.equal({ stored: [], unfinished: [] });
    });

    it('are refused when their digest is another one, before or after compression', async () => {
      const wrong = `sha256:${'0'.repeat(64)}`;
      const diff = await refusal([[{ name: 'a' }]], {
        tamper: { config: ({ rootfs }) => (rootfs.diff_ids[0] = wrong) },
      });
      expect(diff).to.include('its content has the digest');
      const uri = await layout([[{ name: 'a' }]]);
      const blobs = join(base, 'layout/blobs/sha256');
      for (const name of readdirSync(blobs)) {
        const path = join(blobs, name);
        const content = readFileSync(path);
        // Bytes after the end of the compressed data change the digest alone.
        if (content[0] === 0x1f) writeFileSync(path, Buffer.concat([content, Buffer.alloc(8, 1)]));
      }
      expect(await failureOf(images.acquire(uri))).to.be.instanceOf(ImageError);
      expect({ stored: stored(), unfinished: unfinished() }).to.deep.equal({ stored: [], unfinished: [] });
    });
  });

  describe('in the store', () => {
    it('are not there when unpacking was cut short, and what was begun is removed at start', async () => {
      await images.stop();
      mkdirSync(join(store, 'unfinished/half/rootfs'), { recursive: true });
      writeFileSync(join(store, 'unfinished/half/rootfs/file'), 'x');
      mkdirSync(join(store, 'layers', 'f'.repeat(64), 'rootfs'), { recursive: true });
      images = await open();
      expect({ stored: stored(), unfinished: unfinished() }).to.deep.equal({ stored: [], unfinished: [] });
    });

    it('are removed beyond what is kept once nobody refers to them, those unused for longest first', async () => {
      await images.stop();
      images = await open({ keptBytes: 300 * 1024 });
      const tar = async (name: string) => {
        const path = join(base, `${name}.tar`);
        writeFileSync(path, await tarOf([{ name, content: Buffer.alloc(200 * 1024, 1) }]));
        return images.acquire(path);
      };
      const [first, second, third] = [await tar('first'), await tar('second'), await tar('third')];
      await images.collect();
      expect(stored()).to.have.length(3);
      for (const { layers } of [second, third]) images.release(layers);
      await eventually(() => stored().length === 2 || undefined, { what: 'the removal of a layer' });
      expect(stored().sort()).to.deep.equal([...first.layers, ...third.layers].sort());
      expect(() => images.retain(second.layers)).to.throw('not in the store');
      expect(unfinished()).to.deep.equal([]);
    });

    it('leave nothing behind when the disk is full', async () => {
      await images.stop();
      rmSync(store, { recursive: true });
      mkdirSync(store);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', store]);
      try {
        images = await open();
        const failure = await failureOf(acquire([[{ name: 'big', content: Buffer.alloc(8 * 1024 * 1024, 1) }]]));
        expect(failure).to.be.instanceOf(ImageError).with.property('message').that.includes('no space left on device');
        expect({ stored: stored(), unfinished: unfinished() }).to.deep.equal({ stored: [], unfinished: [] });
        const small = await acquire([[{ name: 'small', content: Buffer.alloc(1024, 1) }]]);
        expect(statSync(join(top(small), 'small')).size).to.equal(1024);
        await images.stop();
      } finally {
        execFileSync('umount', [store]);
      }
    });
  });

  describe('of directories and archives on the host', () => {
    it('are the directory itself when owners need no change', async () => {
      const directory = join(base, 'root');
      mkdirSync(directory);
      const image = await images.acquire(directory);
      expect(image).to.include({ isRaw: false }).and.have.property('lowerDirectories').that.deep.equals([directory]);
      expect(stored()).to.deep.equal([]);
    });

    it('are given shifted owners once, all else kept and shared, until the directory is replaced', async () => {
      const directory = join(base, 'root');
      mkdirSync(join(directory, 'bin'), { recursive: true });
      writeFileSync(join(directory, 'bin/su'), 'x');
      chmodSync(join(directory, 'bin/su'), 0o4755);
      execFileSync('ln', [join(directory, 'bin/su'), join(directory, 'bin/hard')]);
      execFileSync('setfattr', [
        '-n',
        'security.capability',
        '-v',
        `0x${Buffer.from(capability, 'latin1').toString('hex')}`,
        join(directory, 'bin/hard'),
      ]);
      execFileSync('mknod', [join(directory, 'null'), 'c', '1', '3']);
      execFileSync('mkfifo', [join(directory, 'pipe')]);
      symlinkSync('/nowhere', join(directory, 'link'));
      mkdirSync(join(directory, 'home'));
      execFileSync('chown', ['1000:1000', join(directory, 'home')]);
      const image = await images.acquire(directory, { idMap: ownIds });
      // A file with two names becomes two files.
      const bytes = 2 * statSync(join(directory, 'bin/su')).blocks * 512;
      expect(image).to.include({ hasMetacopy: true, bytes }).and.have.property('bytes').that.is.above(0);
      merged(image, (root) => {
        const at = (name: string) => join(root, name);
        expect(statSync(at(''))).to.include({ uid: rootOutside, gid: rootOutside });
        expect(statSync(at('bin/su'))).to.include({ uid: rootOutside, mode: 0o104755 });
        expect(capabilityOf(at('bin/su'))).to.equal(shiftedCapability);
        expect(lstatSync(at('null'))).to.include({ rdev: 0x103, uid: rootOutside });
        expect(lstatSync(at('link'))).to.include({ uid: rootOutside });
        expect(readlinkSync(at('link'))).to.equal('/nowhere');
        expect(statSync(at('home'))).to.include({ uid: 1000, gid: 1000 });
        expect(readFileSync(at('bin/su'), 'utf8')).to.equal('x');
      });
      expect((await images.acquire(directory, { idMap: ownIds })).identity).to.equal(image.identity);
      utimesSync(directory, 1, 1);
      expect((await images.acquire(directory, { idMap: ownIds })).identity).not.to.equal(image.identity);
    });

    it('are unpacked from a tar file, plain or compressed, again when it is replaced', async () => {
      const path = join(base, 'root.tar');
      writeFileSync(path, gzipSync(await tarOf([{ name: './bin/sh', content: 'first' }])));
      const first = await images.acquire(path);
      expect(readFileSync(join(top(first), 'bin/sh'), 'utf8')).to.equal('first');
      writeFileSync(path, await tarOf([{ name: './bin/sh', content: 'second' }]));
      utimesSync(path, 5, 5);
      const second = await images.acquire(path);
      expect(readFileSync(join(top(second), 'bin/sh'), 'utf8')).to.equal('second');
    });
  });
});
