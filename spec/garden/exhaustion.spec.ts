import { randomInt } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { runCommand } from '../../lib/process/command.js';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';

const megabyte = 1024 * 1024;
const limited = { limits: { disk_limits: { byte_hard: 16 * megabyte, scope: 1 } } };
/** The program gets mounts of its own, so that what is taken from it is taken from nobody else; they end with it. */
const withOwnMounts = (script: string) => (depot: string) => [
  ...['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', `${script}\nexec "$@"`, depot],
];
const onSmallDisk = withOwnMounts(`
truncate -s 200M "$0.img"
mkfs.ext4 -q "$0.img"
mkdir -p "$0"
mount -o loop "$0.img" "$0"`);

describe('bin/garden, when something of the host runs out', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let client: GardenClient;

  const start = async (config: Record<string, unknown>, prefix?: (depot: string) => string[]) => {
    garden = await startGarden({ spares: 0, ...config }, prefix && { prefix });
    client = new GardenClient(garden.socket);
  };

  afterEach(async () => {
    await client.destroyAll();
    await garden.stop();
  });

  const failure = (work: Promise<unknown>) =>
    work.then(
      () => 'none',
      (error: Error) => error.message,
    );
  /** Paths of the depot as the server sees them. */
  const seen = (...names: string[]) => join(`/proc/${garden.pid}/root`, garden.depot, ...names);
  const volumes = () => readdirSync(seen('@volumes')).length;

  it('says that no port is left, keeps what others have, and goes on when there are some', async () => {
    await start({ port_pool_size: 3 });
    await client.create({ handle: 'one', netin: [{}, {}] });
    expect(await failure(client.create({ handle: 'two', netin: [{}, {}] }))).to.equal('port pool is exhausted');
    expect(await client.handles()).to.deep.equal(['one']);
    await client.create({ handle: 'two', netin: [{}] });
    expect(await failure(client.ask('POST', '/containers/one/net/in', {}))).to.equal('port pool is exhausted');
    expect((await client.info('one')).MappedPorts).to.have.lengthOf(2);
    await client.ask('DELETE', '/containers/one');
    await eventually(
      async () => (await failure(client.ask('POST', '/containers/two/net/in', {}))) === 'none' || undefined,
    );
  });

  it('says that no subnet is left, and goes on when one has rested', async () => {
    const pool = `10.${randomInt(190, 250)}.9.0/29`;
    await start({ network_pool: pool });
    await Promise.all(['one', 'two'].map((handle) => client.create({ handle })));
    expect(await failure(client.create({ handle: 'three' }))).to.equal(`no subnet of ${pool} is free`);
    expect(await client.handles()).to.deep.equal(['one', 'two']);
    await client.ask('DELETE', '/containers/one');
    const begun = performance.now();
    await eventually(async () => (await failure(client.create({ handle: 'three' }))) === 'none' || undefined, {
      timeoutMs: 30_000,
    });
    expect(performance.now() - begun).to.be.above(4_500);
  });

  it('says that the disk is full, leaves nothing, and goes on when it is not', async () => {
    await start({}, onSmallDisk);
    await client.create({ handle: 'old' });
    const before = volumes();
    const fill = seen('filling');
    const fillUp = (size: number) => {
      for (let bytes = size; bytes >= 512; bytes /= 2) {
        try {
          for (;;) writeFileSync(fill, Buffer.alloc(bytes), { flag: 'a' });
        } catch (error) {
          expect(error).to.have.property('code', 'ENOSPC');
        }
      }
    };
    fillUp(4 * megabyte);
    for (const spec of [{}, limited]) {
      expect(await failure(client.create({ handle: 'new', ...spec }))).to.match(/no space left on device/i);
    }
    const { status, json } = await client.call('POST', '/containers/old/processes', { path: 'true', id: 'p' });
    expect(status).to.equal(500);
    expect((json as { Message: string }).Message).to.match(/no space left on device/i);
    expect(await client.handles()).to.deep.equal(['old']);
    expect(await client.info('old')).to.include({ State: 'active', ProcessIDs: null });
    await eventually(() => volumes() === before || undefined, { what: 'the end of what was begun' });
    rmSync(fill);
    expect((await client.exec('old', 'echo here; exit 4', { id: 'p' })).status).to.equal(4);
    await client.create({ handle: 'new', ...limited });
    expect(await client.read('new', 'echo here')).to.equal('here\n');
  });

  it('says that a volume cannot be mounted without loop devices, and goes on when there are some', async () => {
    await start({ disk_quota_driver: 'loop-image' }, withOwnMounts(':'));
    await client.create({ handle: 'old', ...limited });
    const before = volumes();
    const inside = (script: string) =>
      runCommand('nsenter', ['--target', String(garden.pid), '--mount', 'sh', '-ec', script]);
    await inside('for device in /dev/loop-control /dev/loop[0-9]*; do mount --bind /dev/null $device; done');
    expect(await failure(client.create({ handle: 'new', ...limited }))).to.match(/^mount: /);
    await eventually(() => volumes() === before || undefined, { what: 'the end of what was begun' });
    await client.create({ handle: 'unlimited' });
    expect(await client.read('old', 'echo here')).to.equal('here\n');
    await inside('for device in /dev/loop-control /dev/loop[0-9]*; do umount $device || :; done');
    await client.create({ handle: 'new', ...limited });
    expect(await client.handles()).to.deep.equal(['new', 'old', 'unlimited']);
  });
});
