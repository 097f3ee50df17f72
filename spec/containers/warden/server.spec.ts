import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { expect } from 'chai';
import type { RequestFields } from '../../../lib/containers/warden/protocol/messages.js';
import { eventually } from '../../support/eventually.js';
import { WardenSubject } from '../../support/warden.js';
import { failureOf } from '../engine-contract.js';

const mib = 1024 * 1024;

describe('a Warden server', function () {
  this.timeout(60_000);
  let warden: WardenSubject;

  before(async () => {
    warden = await WardenSubject.start();
  });

  after(() => warden.dispose());

  afterEach(async () => {
    await warden.closePeers();
    const { handles } = await warden.request('List', {});
    // In one stroke: some of the jobs do not mind TERM.
    await Promise.all(
      handles.map(async (handle) => {
        await warden.request('Stop', { handle, kill: true }).catch(() => {});
        await warden.request('Destroy', { handle }).catch((error: Error) => {
          // Its grace time has run out meanwhile.
          if (error.message !== 'unknown handle') throw error;
        });
      }),
    );
  });

  const create = async (fields: RequestFields<'Create'> = {}) => (await warden.request('Create', fields)).handle;
  const text = (value: string) => Buffer.from(value);
  const refusal = async (promise: Promise<unknown>) => ((await failureOf(promise)) as Error).message;
  const run = (handle: string, script: string, more: Partial<RequestFields<'Run'>> = {}) =>
    warden.request('Run', { handle, script: text(script), ...more });
  const spawn = async (handle: string, script: string, more: Partial<RequestFields<'Spawn'>> = {}) =>
    (await warden.request('Spawn', { handle, script: text(script), ...more })).jobId;

  describe('connections', () => {
    it('answer a ping with its own nine bytes, and two in order', async () => {
      const peer = await warden.open();
      const ping = Buffer.concat([text('4\r\n'), Buffer.from('085b1200', 'hex'), text('\r\n')]);
      const received: Buffer[] = [];
      peer.socket.on('data', (piece: Buffer) => received.push(piece));
      peer.socket.write(Buffer.concat([ping, ping]));
      await eventually(() => (Buffer.concat(received).length === 2 * ping.length ? true : undefined));
      expect(Buffer.concat(received)).to.deep.equal(Buffer.concat([ping, ping]));
    });

    it('answer requests strictly in order, and do not delay each other', async () => {
      const handle = await create();
      const [slow, other] = [await warden.open(), await warden.open()];
      slow.send('Run', { handle, script: text('while [ ! -e /tmp/go ]; do sleep 0.05; done; echo done') });
      slow.send('Ping', {});
      await other.request('Ping', {});
      await other.request('Run', { handle, script: text('touch /tmp/go') });
      expect((await slow.receive('Run')).stdout).to.deep.equal(text('done\n'));
      await slow.receive('Ping');
    });

    it('end when the other side has no more to ask, after the last answer', async () => {
      const peer = await warden.open();
      peer.send('Echo', { message: text('last') });
      peer.socket.end();
      expect((await peer.receive('Echo')).message).to.deep.equal(text('last'));
      await peer.closed;
    });

    it('are let go by a drain: those that are idle or wait at once, others after their request', async () => {
      const handle = await create();
      const jobId = await spawn(handle, 'sleep 100');
      const [idle, linking, busy] = [await warden.open(), await warden.open(), await warden.open()];
      await Promise.all([idle, linking, busy].map((peer) => peer.request('Ping', {})));
      linking.send('Link', { handle, jobId });
      busy.send('Create', { handle: 'drained' });
      await eventually(async () => ((await warden.oci.engine.list()).length === 2 ? true : undefined)).catch(() => {});
      await warden.server.drain();

      await Promise.all([idle.closed, linking.closed, busy.closed]);
      expect((await busy.receive('Create')).handle).to.equal('drained');
      expect(existsSync(warden.socketPath)).to.equal(false);
      await warden.restartServer();
      expect((await warden.request('Info', { handle })).jobIds).to.deep.equal([jobId]);
    });

    it('go over a socket that only its group may use', () => {
      expect(statSync(warden.socketPath).mode & 0o777).to.equal(0o660);
    });
  });

  describe('containers', () => {
    it('have a handle of eleven digits unless one is asked for', async () => {
      expect(await create()).to.match(/^[0-9a-v]{11}$/);
      expect(await create({ handle: 'any string: ä' })).to.equal('any string: ä');
    });

    it('have their handle for themselves', async () => {
      await create({ handle: 'h' });
      expect(await refusal(create({ handle: 'h' }))).to.equal('container with handle: h already exists.');
      const twice = await Promise.allSettled([create({ handle: 'i' }), create({ handle: 'i' })]);
      expect(twice.filter(({ status }) => status === 'fulfilled')).to.have.lengthOf(1);
      expect((await warden.request('List', {})).handles.sort()).to.deep.equal(['h', 'i']);
    });

    it('are unknown under another handle, and after their destruction', async () => {
      expect(await refusal(warden.request('Info', { handle: 'nope' }))).to.equal('unknown handle');
      await create({ handle: 'h' });
      await warden.request('Destroy', { handle: 'h' });
      expect(await refusal(warden.request('Destroy', { handle: 'h' }))).to.equal('unknown handle');
      expect(await create({ handle: 'h' })).to.equal('h');
    });

    it('are refused with a path for a handle, a root file system or bind source that is missing', async () => {
      expect(await refusal(create({ handle: 'a/b' }))).to.include('handle');
      expect(await refusal(create({ rootfs: '/no/such' }))).to.equal('rootfs /no/such not found');
      const bindMounts = [{ srcPath: '/no/such', dstPath: '/mnt', mode: 'RO' as const }];
      expect(await refusal(create({ bindMounts }))).to.equal('Source path for bind mount does not exist: /no/such');
      expect(await refusal(create({ network: '10.0.0.256' }))).to.equal('Could not acquire network: 10.0.0.256');
      expect((await warden.request('List', {})).handles).to.deep.equal([]);
    });

    it('are passed over at a start when nobody understands what is known of them', async () => {
      await create({ handle: 'good' });
      await create({ handle: 'spoilt' });
      const [, spoilt] = await warden.oci.engine.list();
      await spoilt!.setProperty('warden.record', '{');
      await warden.restartServer();
      expect((await warden.request('List', {})).handles).to.have.lengthOf(1);
      await warden.oci.engine.destroy(spoilt!.handle);
    });

    it('of others on the same engine are not shown, and those that others destroy are forgotten', async () => {
      await warden.oci.engine.create({ handle: 'foreign', rootfs: warden.oci.rootfs });
      await create({ handle: 'own' });
      await warden.restartServer();
      expect((await warden.request('List', {})).handles).to.deep.equal(['own']);
      expect(await refusal(warden.request('Info', { handle: 'foreign' }))).to.equal('unknown handle');
      await Promise.all((await warden.oci.engine.list()).map(({ handle }) => warden.oci.engine.destroy(handle)));
      expect(await refusal(warden.request('Info', { handle: 'own' }))).to.equal('unknown handle');
      expect((await warden.request('List', {})).handles).to.deep.equal([]);
    });

    it('tell all about themselves, whatever the kernel counts', async () => {
      const handle = await create();
      await warden.request('LimitBandwidth', { handle, rate: 1_000_000, burst: 100_000 });
      const info = await warden.request('Info', { handle });
      expect(info.state).to.equal('active');
      expect(info.events).to.deep.equal([]);
      expect(info.hostIp).to.match(/^10\./);
      expect(info.containerIp).to.match(/^10\./);
      expect(existsSync(info.containerPath ?? '')).to.equal(true);
      expect(info.memoryStat).to.include.all.keys('totalRss', 'totalCache', 'totalInactiveFile', 'rss', 'cache');
      expect(Object.keys(info.memoryStat ?? {})).to.have.lengthOf(28);
      expect(info.cpuStat).to.have.all.keys('usage', 'user', 'system');
      expect(info.diskStat).to.have.all.keys('bytesUsed', 'inodesUsed');
      expect(info.bandwidthStat).to.deep.equal({
        inRate: 1_000_000,
        inBurst: 100_000,
        outRate: 1_000_000,
        outBurst: 100_000,
      });
      expect(info.jobIds).to.deep.equal([]);
    });

    it('are stopped in ten seconds even with jobs that do not mind, and can still be read', async () => {
      const handle = await create();
      const jobId = await spawn(handle, "trap '' TERM; echo kept > ~/kept; while :; do sleep 0.1; done");
      await eventually(async () => ((await run(handle, 'cat ~/kept')).exitStatus === 0 ? true : undefined));
      const startedAt = performance.now();
      await warden.request('Stop', { handle });
      expect(performance.now() - startedAt).to.be.above(9_000);

      expect((await warden.request('Link', { handle, jobId })).exitStatus).to.be.oneOf([137, 255]);
      expect(await refusal(spawn(handle, 'true'))).to.equal(
        "Container state must be one of 'active', current state is 'stopped'",
      );
      expect((await warden.request('Info', { handle })).state).to.equal('stopped');
      await warden.request('Stop', { handle });
      await warden.request('CopyOut', { handle, srcPath: '/home/vcap/kept', dstPath: `${warden.socketPath}.kept` });
      expect(execFileSync('cat', [`${warden.socketPath}.kept`]).toString()).to.equal('kept\n');
    });

    it('are stopped in the background, and by force', async () => {
      const handle = await create();
      const jobId = await spawn(handle, "trap '' TERM; echo ready > ~/ready; while :; do sleep 0.1; done");
      await eventually(async () => ((await run(handle, 'cat ~/ready')).exitStatus === 0 ? true : undefined));
      await warden.request('Stop', { handle, background: true, kill: true });
      expect((await warden.request('Link', { handle, jobId })).exitStatus).to.equal(137);
    });

    it('answer for their jobs when they are destroyed, with what was known of them', async () => {
      const handle = await create();
      const jobId = await spawn(handle, 'echo said; touch /tmp/said; sleep 100');
      const peer = await warden.open();
      peer.send('Link', { handle, jobId });
      await eventually(async () => ((await run(handle, 'test -e /tmp/said')).exitStatus === 0 ? true : undefined));
      await warden.request('Destroy', { handle });
      const result = await peer.receive('Link');
      expect(result.exitStatus).to.equal(143);
      expect(result.stdout).to.deep.equal(text('said\n'));
      expect(result.info?.containerPath).to.be.a('string');
    });

    it('are destroyed when the last connection that referred to them is closed for their grace time', async () => {
      const [holder, owner] = [await warden.open(), await warden.open()];
      await owner.request('Create', { handle: 'short', graceTime: 1 });
      await owner.request('Create', { handle: 'held', graceTime: 1 });
      await holder.request('Info', { handle: 'held' });
      await owner.close();
      const { handles } = await eventually(async () => {
        const list = await holder.request('List', {});
        return list.handles.length === 1 ? list : undefined;
      });
      expect(handles).to.deep.equal(['held']);

      await holder.close();
      await eventually(async () => ((await warden.oci.engine.list()).length === 0 ? true : undefined));
    });

    it('are held by every connection that was opened while they were there', async () => {
      const owner = await warden.open();
      await owner.request('Create', { handle: 'short', graceTime: 1 });
      await owner.request('Create', { handle: 'sign', graceTime: 1 });
      const idle = await warden.open();
      await owner.close();
      await idle.request('Destroy', { handle: 'sign' });
      await owner.closed;
      expect((await idle.request('List', {})).handles).to.deep.equal(['short']);
      await idle.close();
      await eventually(async () => ((await warden.oci.engine.list()).length === 0 ? true : undefined));
    });
  });

  it('counts grace times anew when it is started again', async () => {
    const owner = await warden.open();
    await owner.request('Create', { handle: 'short', graceTime: 1 });
    await owner.request('Create', { handle: 'endless', graceTime: 4_294_967_295 });
    await warden.restartServer();
    await eventually(() => (warden.server.handles().length === 1 ? true : undefined));
    expect(warden.server.handles()).to.deep.equal(['endless']);
  });

  describe('limits', () => {
    it('of memory are set and read, and stop the container that hits them', async () => {
      const handle = await create();
      const unlimited = await warden.request('LimitMemory', { handle });
      expect(unlimited.limitInBytes).to.be.above(2 ** 50);
      expect(await warden.request('LimitMemory', { handle, limitInBytes: 32 * mib })).to.deep.equal({
        limitInBytes: 32 * mib,
      });
      expect(await warden.request('LimitMemory', { handle })).to.deep.equal({ limitInBytes: 32 * mib });

      const result = await run(handle, `exec perl -e '$x = "x" x (64 * 1024 * 1024); sleep 100'`);
      expect(result.exitStatus).to.equal(137);
      expect(result.info?.events).to.deep.equal(['out of memory']);
      await eventually(async () => {
        const info = await warden.request('Info', { handle });
        return info.state === 'stopped' ? true : undefined;
      });
      expect((await warden.request('Info', { handle })).events).to.deep.equal(['out of memory']);
    });

    it('of memory end the linkers of all other jobs', async () => {
      const handle = await create();
      await warden.request('LimitMemory', { handle, limitInBytes: 32 * mib });
      const other = run(handle, 'sleep 100');
      await run(handle, `perl -e '$x = "x" x (64 * 1024 * 1024); sleep 100'; sleep 100`);
      expect((await other).exitStatus).to.equal(143);
      expect((await other).info?.events).to.deep.equal(['out of memory']);
    });

    it('of disk space hold, with all twelve fields', async () => {
      const handle = await create();
      const limits = await warden.request('LimitDisk', { handle, byte: 10 * mib });
      expect(limits).to.include({ byteLimit: 10 * mib, byte: 10 * mib, byteHard: 10 * mib, byteSoft: 10 * mib });
      expect(limits).to.include({ blockLimit: 10 * 1024, block: 10 * 1024, blockHard: 10 * 1024, inode: 10_000 });
      expect(Object.keys(limits)).to.have.lengthOf(12);

      const { exitStatus } = await run(handle, 'dd if=/dev/zero of=/home/vcap/big bs=1M count=20');
      expect(exitStatus).not.to.equal(0);
      const { diskStat } = await warden.request('Info', { handle });
      expect(diskStat?.bytesUsed).to.be.within(9 * mib, 11 * mib);
    });

    it('of disk space are changed one by one, the more precise value first', async () => {
      const handle = await create();
      await warden.request('LimitDisk', { handle, blockHard: 20 * 1024, block: 1, byte: 5 });
      expect(await warden.request('LimitDisk', { handle })).to.include({ byte: 20 * mib, inode: 10_000 });
      await warden.request('LimitDisk', { handle, inode: 10_000, inodeLimit: 1 });
      expect(await warden.request('LimitDisk', { handle })).to.include({ byte: 20 * mib, inode: 10_000 });
      await warden.request('LimitDisk', { handle, byteHard: 30 * mib - 1 });
      expect(await warden.request('LimitDisk', { handle })).to.include({ byte: 30 * mib });
    });

    it('of processor and bandwidth are set and read', async () => {
      const handle = await create();
      expect(await warden.request('LimitCpu', { handle })).to.deep.equal({ limitInShares: 1024 });
      expect(await warden.request('LimitCpu', { handle, limitInShares: 256 })).to.deep.equal({ limitInShares: 256 });
      expect(await warden.request('LimitBandwidth', { handle, rate: 5_000, burst: 6_000 })).to.deep.equal({
        rate: 5_000,
        burst: 6_000,
      });
      expect(await refusal(warden.request('LimitCpu', { handle, limitInShares: 0 }))).to.include('cpuShares');
    });
  });

  describe('the network', () => {
    it('maps a port of the pool to the same number inside, and gives it back', async () => {
      const { start, size } = warden.oci.settings.portPool!;
      const first = await create({ handle: 'first' });
      const { containerIp } = await warden.request('Info', { handle: first });
      const mapping = await warden.request('NetIn', { handle: first });
      expect(mapping.hostPort)
        .to.equal(mapping.containerPort)
        .and.to.be.within(start, start + size - 1);
      expect(await warden.request('NetIn', { handle: first, hostPort: start + size + 7 })).to.deep.equal({
        hostPort: start + size + 7,
        containerPort: start + size + 7,
      });
      await warden.request('Destroy', { handle: first });
      const { containerIp: next } = await warden.request('Info', { handle: await create() });
      expect(next).not.to.equal(containerIp);
    });

    it('says when no port is left', async () => {
      const { size } = warden.oci.settings.portPool!;
      const handle = await create();
      const peer = await warden.open();
      for (let count = 0; count <= size; count += 1) peer.send('NetIn', { handle });
      for (let count = 0; count < size; count += 1) await peer.receive('NetIn');
      expect(await refusal(peer.receive('NetIn'))).to.equal('no port available');
    });

    it('is opened by rules that make sense, and says what is wrong with others', async () => {
      const handle = await create();
      await warden.request('NetOut', { handle, network: '10.1.0.0/16', portRange: '80:90', log: true });
      await warden.request('NetOut', {
        handle,
        network: '10.1.1.1-10.1.1.9',
        protocol: 'ICMP',
        icmpType: 8,
        icmpCode: -1,
      });
      await warden.request('NetOut', { handle, port: 53, protocol: 'UDP' });
      const wrong: [Omit<RequestFields<'NetOut'>, 'handle'>, string][] = [
        [{}, 'Please specify network, port, and/or port_range.'],
        [{ portRange: '90:80' }, 'Port range maximum must be greater than minimum'],
        [{ portRange: '80:80' }, 'Port range maximum must be greater than minimum'],
        [{ network: 'example.com' }, 'network: "example.com" is no address, CIDR or range of addresses'],
        [{ port: 70_000 }, 'port: 70000 is no port'],
      ];
      for (const [fields, message] of wrong) {
        expect(await refusal(warden.request('NetOut', { handle, ...fields }))).to.equal(message);
      }
    });
  });
});
