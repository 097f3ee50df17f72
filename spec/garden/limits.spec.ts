import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { busyboxLayer } from '../support/busybox-image.js';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { writeLayout } from '../support/image-layout.js';
import { expectNoContainerLeft, thingsOfEngine } from '../support/leaks.js';

const megabyte = 1024 * 1024;
const users = ['root', 'alice', 'bob'];

describe('limits of containers of bin/garden', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let client: GardenClient;
  let scratch: string;

  before(async () => {
    garden = await startGarden({ spares: 0 });
    client = new GardenClient(garden.socket);
    scratch = mkdtempSync(join(tmpdir(), 'limits-'));
  });

  after(async () => {
    await garden.stop();
    rmSync(scratch, { recursive: true });
  });

  afterEach(() => client.destroyAll());

  const create = (limits: Record<string, unknown>, spec: Record<string, unknown> = {}) =>
    client.create({ limits, ...spec });
  const write = (handle: string, file: string, megabytes: number, user = 'root') =>
    client.exec(handle, `dd if=/dev/zero of=${file} bs=1M count=${megabytes}`, { user });

  describe('on memory', () => {
    it('end a process that goes beyond, with one event that is there when the exit status arrives', async () => {
      const handle = await create({ memory_limits: { limit_in_bytes: 64 * megabyte } });
      expect((await write(handle, '/dev/shm/x', 58)).status).to.equal(0);
      expect(await client.info(handle)).to.deep.include({ Events: null, State: 'active' });
      await client.read(handle, 'rm /dev/shm/x');
      // The process itself asks for no more than its shell: that one must be told of, too.
      const { status } = await client.exec(handle, {
        path: 'dd',
        args: 'if=/dev/zero of=/dev/shm/x bs=1M count=65'.split(' '),
      });
      expect(status).to.equal(137);
      expect(await client.info(handle)).to.deep.include({ Events: ['Out of memory'], State: 'active' });
    });
  });

  describe('on the disk', () => {
    it('hold for all users of a container together', async () => {
      const handle = await create({ disk_limits: { byte_hard: 10 * megabyte, scope: 1 } });
      await client.read(
        handle,
        'echo alice:x:1000:1000::/:/bin/sh >> /etc/passwd; echo bob:x:1001:1001::/:/bin/sh >> /etc/passwd; mkdir -m 1777 /all',
      );
      for (const user of users) {
        expect((await write(handle, `/all/${user}`, 9, user)).status, user).to.equal(0);
        const more = await write(handle, `/all/${user}`, 11, user);
        expect(more.status, user).not.to.equal(0);
        expect(more.stderr).to.match(/No space left on device|Disk quota exceeded/);
        await client.read(handle, `rm /all/${user}`);
      }
      for (const user of users) await write(handle, `/all/${user}`, 3, user);
      expect((await write(handle, '/all/last', 3, 'bob')).status).not.to.equal(0);
    });

    it('count the image where they are of both', async () => {
      const image = join(scratch, 'small');
      writeLayout(image, [await busyboxLayer({ name: 'filling', content: Buffer.alloc(2 * megabyte, 7) })]);
      const spec = { image: { uri: `oci://${image}:latest` } };
      const handle = await create({ disk_limits: { byte_hard: 20 * megabyte, scope: 0 } }, spec);
      const { DiskStat } = await client.metrics(handle);
      const imageBytes = DiskStat!.TotalBytesUsed! - DiskStat!.ExclusiveBytesUsed!;
      expect(imageBytes).to.be.within(3.5 * megabyte, 5 * megabyte);
      expect((await write(handle, '/tmp/x', 7)).status).to.equal(0);
      expect((await write(handle, '/tmp/x', 20)).status).not.to.equal(0);
      expect((await client.metrics(handle)).DiskStat!.TotalBytesUsed).to.be.within(18 * megabyte, 20.5 * megabyte);
    });

    it('refuse an image that is larger, and leave nothing of it', async () => {
      await expectNoContainerLeft(garden.depot);
      const before = thingsOfEngine(garden.depot);
      const failure = await create({ disk_limits: { byte_hard: 4 * megabyte } }, { handle: 'large' }).catch(
        (error: Error) => error.message,
      );
      expect(failure).to.include('disk limit is smaller than volume size');
      expect(await client.handles()).to.deep.equal([]);
      await eventually(() => expect(thingsOfEngine(garden.depot)).to.deep.equal(before) && true);
    });
  });

  describe('on processes', () => {
    it('stop those who fork on and on, and are told', async () => {
      const handle = await create({ pid_limits: { max: 50 } });
      const { stderr } = await client.exec(handle, 'i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; exit 0');
      expect(stderr).to.match(/can.t fork|Cannot fork/i);
      const { PidStat } = await client.metrics(handle);
      expect(PidStat).to.have.property('Max', 50);
      expect(PidStat!.Current).to.be.within(40, 50);
    });

    it('are none unless one is set', async () => {
      expect((await client.metrics(await client.create())).PidStat).to.have.property('Max', 0);
    });
  });
});
