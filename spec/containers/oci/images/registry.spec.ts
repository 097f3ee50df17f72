import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ContainerSpec } from '../../../../lib/containers/engine.js';
import { HostRequirementError, ImageError } from '../../../../lib/containers/errors.js';
import { createImages } from '../../../../lib/containers/oci/images/images.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { busyboxLayer } from '../../../support/busybox-image.js';
import { eventually } from '../../../support/eventually.js';
import { refusingUrl } from '../../../support/http-server.js';
import { tarOf, writeLayout } from '../../../support/image-layout.js';
import { type OciSubject, startOciEngine } from '../../../support/oci.js';
import { type Registry, registryCredentials, startRegistry } from '../../../support/registry.js';
import { failureOf, runToEnd, script } from '../../engine-contract.js';

describe('containers made from images of a registry', function () {
  this.timeout(60_000);
  let base: string;
  let open: Registry;
  let closed: Registry;
  let subject: OciSubject;

  const create = (spec: Partial<ContainerSpec>) => subject.engine.create(spec);
  const store = () => join(subject.settings.depotDirectory, '@images');
  const motdOf = async (spec: Partial<ContainerSpec>) =>
    (await runToEnd(await create(spec), script('cat /etc/motd; echo $FROM'))).stdout;
  const publish = async (registry: Registry, repository: string, motd: string) => {
    const layout = join(base, `layout-${motd}`);
    const layers = [await busyboxLayer(), await tarOf([{ name: 'etc/motd', content: `${motd}\n` }])];
    const digest = writeLayout(layout, layers, { env: [`FROM=${motd}-env`] });
    await registry.push(layout, repository);
    return digest;
  };

  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'images-'));
    [open, closed] = await Promise.all([startRegistry(), startRegistry({ isPrivate: true })]);
    subject = await startOciEngine({
      dockerRegistry: open.host,
      insecureRegistries: [open.host, closed.host],
      spares: 0,
    });
  });

  after(async () => {
    await subject.dispose();
    await Promise.all([open.stop(), closed.stop()]);
    rmSync(base, { recursive: true });
  });

  afterEach(async () => {
    const containers = await subject.engine.list();
    await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
    expect(readdirSync(join(store(), 'downloads'))).to.deep.equal([]);
  });

  it('are fetched once, whoever asks at the same time and later', async () => {
    await publish(open, 'team/app:v1', 'once');
    const rootfs = 'docker:///team/app#v1';
    const said = await Promise.all([motdOf({ rootfs }), motdOf({ rootfs }), motdOf({ rootfs })]);
    expect(said).to.deep.equal(Array.from({ length: 3 }, () => 'once\nonce-env\n'));
    expect(await motdOf({ rootfs: `docker://${open.host}/team/app#v1` })).to.equal('once\nonce-env\n');
    const blobs = await eventually(async () => {
      const lines = await open.requests('/v2/team/app/blobs/');
      const got = lines.filter((line) => line.includes('"GET '));
      return got.length >= 3 ? got : undefined;
    });
    expect(blobs, 'two layers and the config').to.have.length(3);
  });

  it('are the newest of their tag, or those of a digest', async () => {
    const first = await publish(open, 'moving', 'older');
    expect(await motdOf({ rootfs: 'docker:///moving' })).to.equal('older\nolder-env\n');
    await publish(open, 'moving', 'newer');
    expect(await motdOf({ rootfs: 'docker:///moving' })).to.equal('newer\nnewer-env\n');
    expect(await motdOf({ rootfs: `docker:///moving@${first}` })).to.equal('older\nolder-env\n');
    expect(await motdOf({ rootfs: `docker:///moving#${first}` })).to.equal('older\nolder-env\n');
  });

  it('share the layers that they have in common', async () => {
    await publish(open, 'one', 'one');
    await publish(open, 'other', 'other');
    const layers = () => readdirSync(join(store(), 'layers')).length;
    await motdOf({ rootfs: 'docker:///one' });
    const before = layers();
    await motdOf({ rootfs: 'docker:///other' });
    expect(layers()).to.equal(before + 1);
  });

  it('need the credentials that the registry asks for, each time', async () => {
    await publish(closed, 'secret', 'guarded');
    const rootfs = `docker://${closed.host}/secret`;
    expect(await motdOf({ rootfs, credentials: registryCredentials })).to.equal('guarded\nguarded-env\n');
    for (const credentials of [undefined, { ...registryCredentials, password: 'wrong' }]) {
      const failure = await failureOf(create({ rootfs, ...(credentials && { credentials }) }));
      expect(failure).to.be.instanceOf(ImageError);
      expect((failure as Error).message)
        .to.match(/unauthorized|authentication required/)
        .and.not.include('wrong');
    }
  });

  it('are refused when the registry does not have them or does not answer', async () => {
    expect(await failureOf(create({ rootfs: 'docker:///no/such/image' })))
      .to.be.instanceOf(ImageError)
      .with.property('message')
      .that.includes('no/such/image:latest cannot be fetched');
    const { host } = new URL(await refusingUrl());
    expect(await failureOf(create({ rootfs: `docker://${host}/image` })))
      .to.be.instanceOf(ImageError)
      .with.property('message')
      .that.includes('connection refused');
  });

  it('are not asked for without TLS of a registry that is not said to be insecure', async () => {
    await publish(open, 'plain', 'plain');
    const images = createImages({ directory: join(base, 'strict'), dockerRegistry: open.host, logger: silentLogger });
    await images.start();
    expect(await failureOf(images.acquire('docker:///plain'))).to.be.instanceOf(ImageError);
    await images.stop();
  });

  it('name the package when the program that fetches them is missing', async () => {
    const images = createImages({ directory: join(base, 'bare'), dockerRegistry: open.host, logger: silentLogger });
    await images.start();
    const path = process.env.PATH;
    process.env.PATH = '/nowhere';
    try {
      expect(await failureOf(images.acquire('docker:///team/app')))
        .to.be.instanceOf(HostRequirementError)
        .with.property('message')
        .that.includes('apt-get install skopeo');
    } finally {
      process.env.PATH = path;
    }
    await images.stop();
  });

  it('never show credentials on a command line, or leave them on the disk', async () => {
    await publish(closed, 'watched', 'watched');
    const seen = new Set<string>();
    let isWatching = true;
    const watching = (async () => {
      while (isWatching) {
        for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
          try {
            const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
            if (line.includes('skopeo') && line.includes(closed.host)) seen.add(line);
          } catch {
            // Gone meanwhile.
          }
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await motdOf({ rootfs: `docker://${closed.host}/watched`, credentials: registryCredentials });
    isWatching = false;
    await watching;
    expect(seen.size).to.be.above(0);
    expect([...seen].join('\n')).not.to.include(registryCredentials.password);
    const encoded = Buffer.from(`${registryCredentials.username}:${registryCredentials.password}`).toString('base64');
    const found = execFileSync('sh', ['-c', `grep -rl "${encoded}" "${store()}" || true`], { encoding: 'utf8' });
    expect(found).to.equal('');
  });
});
