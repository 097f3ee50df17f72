import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import type { Container, ContainerSpec } from '../../../../lib/containers/engine.js';
import { ImageError, InvalidSpecError } from '../../../../lib/containers/errors.js';
import { rootOutside } from '../../../../lib/containers/oci/users/id-map.js';
import { busyboxLayer } from '../../../support/busybox-image.js';
import { EngineProcess } from '../../../support/engine-process.js';
import { eventually } from '../../../support/eventually.js';
import { startHttpServer } from '../../../support/http-server.js';
import { sha256, tarOf, writeLayout } from '../../../support/image-layout.js';
import { thingsOfEngine } from '../../../support/leaks.js';
import { makeOciSettings, type OciSubject, startOciEngine } from '../../../support/oci.js';
import { failureOf, runToEnd, script } from '../../engine-contract.js';

const MiB = 1024 * 1024;

describe('containers made from images', function () {
  this.timeout(60_000);
  let base: string;
  let subject: OciSubject;

  const create = (spec: Partial<ContainerSpec>) => subject.engine.create(spec);
  const output = async (container: Container, text: string, user?: string) =>
    (await runToEnd(container, script(text, user === undefined ? {} : { user }))).stdout;
  const store = () => join(subject.settings.depotDirectory, '@images');
  /** An image of two layers, the upper one of which changes the lower one. */
  const twoLayers = async (name: string, options: Parameters<typeof writeLayout>[2] = {}) => {
    const directory = join(base, name);
    const lower = await busyboxLayer(
      { name: 'etc/motd', content: 'first' },
      { name: 'etc/gone', content: 'first' },
      { name: 'home/alice/file', content: name, uid: 1000, gid: 1000 },
    );
    const upper = await tarOf([{ name: 'etc/motd', content: 'second' }, { name: 'etc/.wh.gone' }]);
    writeLayout(directory, [lower, upper], options);
    return directory;
  };

  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'images-'));
    // Root of a container with a user namespace is nobody special on the host, and must get to a raw directory.
    chmodSync(base, 0o755);
    const defaultRootfs = join(base, 'default.tar');
    writeFileSync(defaultRootfs, await busyboxLayer({ name: 'default' }));
    subject = await startOciEngine({ defaultRootfs, spares: 1 });
  });

  after(async () => {
    await subject.dispose();
    rmSync(base, { recursive: true });
  });

  afterEach(async () => {
    const containers = await subject.engine.list();
    await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
  });

  it('see the layers of an OCI layout merged, and start with its environment', async () => {
    const layout = await twoLayers('layout', { tags: ['one', 'two'], env: ['A=image', 'B=image', 'C=image'] });
    const container = await create({ rootfs: `oci://${layout}:two`, env: ['B=container', 'C=container'] });
    expect(await output(container, 'cat /etc/motd; ls /etc/gone 2>&1 | cat')).to.equal(
      'secondls: /etc/gone: No such file or directory\n',
    );
    const { stdout } = await runToEnd(container, script('echo $A $B $C', { env: ['C=process'] }));
    expect(stdout).to.equal('image container process\n');
    expect(await output(container, 'stat -c %u:%a /home/alice; echo x > file && cat file', 'alice')).to.equal(
      '1000:755\nx\n',
    );
    expect((await container.metrics()).imageBytes).to.be.within(1.9 * MiB, 2.5 * MiB);
  });

  it('run programs with the capabilities of their files, and cannot use devices that an image brings', async () => {
    const tar = join(base, 'special.tar');
    // cap_net_raw=ep as the kernel keeps it.
    const capability = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0';
    const special = await busyboxLayer(
      {
        name: 'special/cat',
        content: readFileSync('/bin/busybox'),
        mode: 0o755,
        pax: { 'SCHILY.xattr.security.capability': capability },
      },
      { name: 'disk', type: 'block-device', devmajor: 7, devminor: 0, mode: 0o666 },
    );
    writeFileSync(tar, special);
    const container = await create({ rootfs: tar });
    const status = await output(container, '/special/cat /proc/self/status', 'alice');
    expect(status).to.match(/^CapEff:\t0000000000002000$/m);
    expect(await output(container, 'dd if=/disk bs=512 count=1 2>&1')).to.include('Operation not permitted');
  });

  it('are refused when a document of the layout is damaged, strange or a pipe, and never wait', async () => {
    const zeros = `sha256:${'0'.repeat(64)}`;
    for (const [name, tamper, message] of [
      ['no-config', { manifest: (manifest) => Object.assign(manifest.config, { digest: zeros }) }, 'cannot be read'],
      [
        'short-config',
        { manifest: (manifest) => Object.assign(manifest.config, { size: manifest.config.size - 1 }) },
        'is not what its digest',
      ],
      [
        'bad-digest',
        { manifest: (manifest) => Object.assign(manifest.layers[0]!, { digest: '../../etc' }) },
        'is no SHA-256 digest',
      ],
      [
        'strange',
        { manifest: (manifest) => Object.assign(manifest.layers[0]!, { mediaType: 'text/html' }) },
        'text/html',
      ],
      ['count', { config: (config) => config.rootfs.diff_ids.pop() }, 'tells of 1 layers'],
      ['env', { config: (config) => Object.assign(config.config, { Env: ['no equals'] }) }, 'config.Env.0'],
    ] as [string, NonNullable<Parameters<typeof writeLayout>[2]>['tamper'] & object, string][]) {
      const layout = await twoLayers(name, { tamper });
      const failure = await failureOf(create({ rootfs: `oci://${layout}` }));
      expect(failure).to.be.instanceOf(ImageError).with.property('message').that.includes(message);
    }
    const layout = await twoLayers('piped');
    rmSync(join(layout, 'index.json'));
    execFileSync('mkfifo', [join(layout, 'index.json')]);
    expect(await failureOf(create({ rootfs: `oci://${layout}` }))).to.be.instanceOf(ImageError);
  });

  it('are refused when a layout has several images and none is named, or not that one', async () => {
    const layout = await twoLayers('several', { tags: ['one'] });
    expect(await failureOf(create({ rootfs: `oci://${layout}:two` })))
      .to.be.instanceOf(ImageError)
      .with.property('message')
      .that.includes('has no image two');
    expect(await failureOf(create({ rootfs: `oci://${base}` })))
      .to.be.instanceOf(ImageError)
      .with.property('message')
      .that.includes('no OCI image layout');
  });

  it('come from the default when nothing is said, and from tar files and directories as before', async () => {
    expect(await output(await create({}), 'ls -d /default')).to.equal('/default\n');
    expect(await output(await create({ rootfs: '' }), 'ls -d /default')).to.equal('/default\n');
    const tar = join(base, 'root.tar.gz');
    writeFileSync(tar, gzipSync(await busyboxLayer({ name: 'from-tar' })));
    expect(await output(await create({ rootfs: tar }), 'ls -d /from-tar')).to.equal('/from-tar\n');
    const directory = join(base, 'root');
    mkdirSync(directory);
    execFileSync('tar', ['-xf', tar, '-C', directory]);
    const container = await create({ rootfs: directory });
    expect(await output(container, 'touch /etc/new && ls -d /from-tar')).to.equal('/from-tar\n');
    expect(existsSync(join(directory, 'etc/new'))).to.equal(false);
  });

  it('have a raw directory as it is, without a layer above', async () => {
    const directory = join(base, 'raw');
    mkdirSync(directory);
    execFileSync('tar', ['-xf', '-', '-C', directory], { input: await busyboxLayer() });
    // Nobody shifts its owners: they must be right already.
    execFileSync('chown', ['--recursive', `${rootOutside}:${rootOutside}`, directory]);
    const container = await create({ rootfs: `raw://${directory}`, limits: { disk: { bytes: MiB } } });
    await runToEnd(container, script('echo kept > /tmp/kept'));
    expect(await container.metrics()).to.deep.include({ imageBytes: 0, disk: { bytesUsed: 0, inodesUsed: 0 } });
    await subject.restart();
    const again = await subject.engine.lookup(container.handle);
    expect(await output(again, 'cat /tmp/kept')).to.equal('kept\n');
    await subject.engine.destroy(again.handle);
    expect(readFileSync(join(directory, 'tmp/kept'), 'utf8')).to.equal('kept\n');
  });

  for (const [rootfs, message] of [
    ['relative/path', 'absolute path'],
    ['/nowhere/at/all', 'not found'],
    ['/dev/null', 'neither a directory nor a tar file'],
    ['preloaded:cflinuxfs4', 'only the executor knows'],
    ['docker://', 'must be docker://'],
    ['docker:///UPPER', 'no repository'],
    ['docker:///a/b#bad tag', 'no tag'],
    ['ftp://host/image', 'must be an absolute path'],
    ['oci://relative', 'absolute path'],
    ['preloaded+layer:/x?layer=http://h/x&layer_path=/y', 'layer_digest'],
    [`preloaded+layer:/x?layer=file:///x&layer_path=/y&layer_digest=${'0'.repeat(64)}`, 'HTTP URL'],
    [`preloaded+layer:/x?layer=http://h/x&layer_path=/../y&layer_digest=${'0'.repeat(64)}`, 'leaves the image'],
    ['/with\0nul', 'NUL'],
  ] as const) {
    it(`are refused when they name ${JSON.stringify(rootfs)}`, async () => {
      const failure = await failureOf(create({ rootfs }));
      expect(failure).to.be.instanceOf(InvalidSpecError).with.property('message').that.includes(message);
      expect(failure).to.have.property('message').that.includes('rootfs');
    });
  }

  describe('with a fetched layer over a preloaded one', () => {
    const droplet = () =>
      tarOf([
        { name: './', type: 'directory', mode: 0o755, uid: 1000, gid: 1000 },
        { name: './app/run', content: 'droplet', uid: 1000, gid: 1000, mode: 0o755 },
      ]).then((tar) => gzipSync(tar));

    it('find it under its directory, fetched once, with the parents as they are below', async () => {
      const layer = await droplet();
      const server = await startHttpServer((_, response) => void response.end(layer));
      try {
        const base = subject.settings.defaultRootfs!;
        const layerUrl = encodeURIComponent(`${server.url}/droplet?signature=x`);
        const rootfs = `preloaded+layer:${base}?layer=${layerUrl}&layer_path=/home/alice&layer_digest=${sha256(layer)}`;
        const [one] = await Promise.all([create({ rootfs }), create({ rootfs })]);
        expect(await output(one, 'cat /home/alice/app/run; stat -c %u /home/alice; stat -c %u /home')).to.equal(
          'droplet1000\n0\n',
        );
        expect(server.requests).to.deep.equal(['GET /droplet?signature=x']);
      } finally {
        await server.stop();
      }
    });

    it('are refused when it is not the one that was meant, or cannot be had', async () => {
      const layer = await droplet();
      const server = await startHttpServer((request, response) => {
        response.statusCode = request.url === '/missing' ? 404 : 200;
        response.end(layer);
      });
      try {
        const uri = (path: string) =>
          `preloaded+layer:${subject.settings.defaultRootfs}?layer=${server.url}${path}&layer_path=/app&layer_digest=${'1'.repeat(64)}`;
        expect(await failureOf(create({ rootfs: uri('/droplet') })))
          .to.be.instanceOf(ImageError)
          .with.property('message')
          .that.includes('has the digest');
        expect(await failureOf(create({ rootfs: uri('/missing') })))
          .to.be.instanceOf(ImageError)
          .with.property('message')
          .that.includes('status 404');
        expect(readdirSync(join(store(), 'unfinished'))).to.deep.equal([]);
      } finally {
        await server.stop();
      }
    });
  });

  describe('with a limit of the disk', () => {
    const fill = async (container: Container, mebibytes: number, user: string, file = '/tmp/filler') =>
      (
        await runToEnd(
          container,
          script(`dd if=/dev/zero of=${file} bs=1M count=${mebibytes} 2>&1; echo status $?`, { user }),
        )
      ).stdout;
    /** Busybox and ballast: 4 MiB. */
    const fourMebibytes = async () => {
      const path = join(base, 'four.tar');
      const rest = 4 * MiB - statSync('/bin/busybox').size;
      if (!existsSync(path)) {
        writeFileSync(path, await busyboxLayer({ name: 'ballast', content: Buffer.alloc(rest - 64 * 1024, 1) }));
      }
      return path;
    };

    it('of their own may write so much, all users together', async () => {
      const rootfs = await fourMebibytes();
      const container = await create({ rootfs, limits: { disk: { bytes: 10 * MiB, scope: 'exclusive' } } });
      expect(await fill(container, 3, 'root', '/tmp/one')).to.include('status 0');
      expect(await fill(container, 3, 'alice', '/tmp/two')).to.include('status 0');
      expect(await fill(container, 3, '1234:1234', '/tmp/three')).to.include('status 0');
      expect(await fill(container, 2, 'root', '/tmp/four')).to.match(/No space left|quota exceeded/i);
    });

    it('that counts the image may write what the image leaves', async () => {
      const rootfs = await fourMebibytes();
      const container = await create({ rootfs, limits: { disk: { bytes: 20 * MiB, scope: 'total' } } });
      expect(await fill(container, 7, 'alice')).to.include('status 0');
      expect((await container.metrics()).disk.bytesUsed).to.be.within(7 * MiB, 7.2 * MiB);
      expect(await fill(container, 20, 'alice')).to.match(/No space left|quota exceeded/i);
      const { disk, imageBytes } = await container.metrics();
      expect(disk.bytesUsed + imageBytes).to.be.within(19.5 * MiB, 20.5 * MiB);
      await container.limit({ disk: { bytes: 30 * MiB } });
      await runToEnd(container, script('rm /tmp/filler'));
      expect(await fill(container, 25, 'root')).to.include('status 0');
      expect(await fill(container, 29, 'root')).to.match(/No space left|quota exceeded/i);
      expect(await container.limits()).to.deep.equal({ disk: { bytes: 30 * MiB, scope: 'total' } });
    });

    it('that the image alone exceeds are refused and leave nothing behind', async () => {
      const rootfs = await fourMebibytes();
      const before = await eventually(() => {
        const things = thingsOfEngine(subject.settings.depotDirectory);
        // The containers of the specs before give back what they held after their destruction.
        return things.files.some((file) => /^@(run|output)\/[^@]/.test(file)) ? undefined : things;
      });
      const failure = await failureOf(create({ rootfs, limits: { disk: { bytes: 3 * MiB, scope: 'total' } } }));
      expect(failure).to.be.instanceOf(InvalidSpecError);
      expect((failure as Error).message).to.include('disk limit is smaller than volume size');
      await eventually(() => {
        const now = thingsOfEngine(subject.settings.depotDirectory);
        // Stocks are filled beside.
        expect(now.files).to.deep.equal(before.files);
        expect(now.processes).to.deep.equal(before.processes);
        expect(now.controlGroups).to.deep.equal(before.controlGroups);
        return true;
      });
    });

    it('that counts the image have at least 256 KiB', async () => {
      const rootfs = await fourMebibytes();
      const probe = await create({ rootfs });
      const { imageBytes } = await probe.metrics();
      const container = await create({ rootfs, limits: { disk: { bytes: imageBytes, scope: 'total' } } });
      const { stdout } = await runToEnd(
        container,
        script('dd if=/dev/zero of=/tmp/f bs=1k count=240 2>&1; echo status $?'),
      );
      expect(stdout).to.include('status 0');
      expect(await fill(container, 1, 'root')).to.match(/No space left|quota exceeded/i);
    });
  });

  it('keep their layers across a restart, however little is kept of others', async () => {
    const settings = { ...(await makeOciSettings()), keptImageBytes: 0, spares: 0 };
    const other = await startOciEngine({ settings });
    try {
      const rootfs = `oci://${await twoLayers('kept')}`;
      const layers = () => readdirSync(join(settings.depotDirectory, '@images/layers'));
      const container = await other.engine.create({ rootfs });
      await other.restart();
      const again = await other.engine.lookup(container.handle);
      expect(await output(again, 'cat /home/alice/file')).to.equal('kept');
      const second = await other.engine.create({ rootfs });
      await other.engine.destroy(second.handle);
      expect(layers()).to.have.length(2);
      await other.engine.destroy(again.handle);
      await eventually(() => layers().length === 0 || undefined, { what: 'the removal of unused layers' });
    } finally {
      await other.dispose();
    }
  });

  it('leave no half of a layer when the engine is killed while it unpacks', async () => {
    const settings = await makeOciSettings();
    const layer = gzipSync(await busyboxLayer());
    let hasAsked = false;
    let isStalling = true;
    const server = await startHttpServer((_, response) => {
      hasAsked = true;
      response.write(layer.subarray(0, layer.length / 2));
      if (!isStalling) response.end(layer.subarray(layer.length / 2));
    });
    const rootfs = `preloaded+layer:${subject.settings.defaultRootfs}?layer=${server.url}/x&layer_path=/app&layer_digest=${sha256(layer)}`;
    const unfinished = () => readdirSync(join(settings.depotDirectory, '@images/unfinished'));
    const engine = await EngineProcess.start(settings);
    try {
      const creation = engine.ask({ verb: 'create', spec: { handle: 'half', rootfs } }).catch(() => {});
      await eventually(() => (hasAsked && unfinished().length > 0) || undefined, { what: 'a layer half unpacked' });
      await engine.kill();
      await creation;
      isStalling = false;
      const successor = await startOciEngine({ settings });
      expect(unfinished()).to.deep.equal([]);
      const container = await successor.engine.create({ rootfs });
      expect(await output(container, 'cat /app/etc/group')).to.include('alice');
      await successor.dispose();
    } finally {
      await engine.kill();
      await server.stop();
    }
  });

  it('give up waiting for an image when the engine stops', async () => {
    const settings = await makeOciSettings();
    const other = await startOciEngine({ settings, spares: 0 });
    const server = await startHttpServer((_, response) => void response.write(gzipSync('x').subarray(0, 4)));
    try {
      const rootfs = `preloaded+layer:${subject.settings.defaultRootfs}?layer=${server.url}/x&layer_path=/app&layer_digest=${'2'.repeat(64)}`;
      const failure = failureOf(other.engine.create({ rootfs }));
      await eventually(() => server.requests.length > 0 || undefined, { what: 'a request for the layer' });
      await other.dispose();
      expect(await failure)
        .to.be.instanceOf(ImageError)
        .with.property('message')
        .that.includes('stopping');
    } finally {
      await server.stop();
    }
  });
});
