import { expect } from 'chai';
import { netOutRequests } from '../../../lib/containers/warden/client/requests.js';
import { OutputBuffer } from '../../../lib/containers/warden/output-buffer.js';
import { decodeEnvelope, decodeRequest, encodeRequest } from '../../../lib/containers/warden/protocol/codec.js';
import { ContainerIds, formatContainerId } from '../../../lib/containers/warden/server/container-id.js';
import { isContainerAddressIn } from '../../../lib/containers/warden/server/creation.js';
import { readDiskLimits, writeDiskLimits } from '../../../lib/containers/warden/server/disk-limits.js';
import { GraceTimer } from '../../../lib/containers/warden/server/grace-timer.js';
import { describeContainer, type InfoSources } from '../../../lib/containers/warden/server/info.js';
import { readNetOut } from '../../../lib/containers/warden/server/net-out.js';
import { eventually } from '../../support/eventually.js';

describe('decisions of a Warden server', () => {
  it('make ids of eleven digits, one after the other', () => {
    expect(formatContainerId(0n)).to.equal('00000000000');
    expect(formatContainerId(32n + 31n)).to.equal('0000000001v');
    expect(formatContainerId(2n ** 55n + 1n)).to.equal('00000000001');
    const ids = new ContainerIds(1_400_000_000_000);
    const [first, second] = [ids.next(), ids.next()];
    expect(first).to.match(/^[0-9a-v]{11}$/);
    expect(second > first).to.equal(true);
  });

  it('read disk limits by precedence, and round bytes up to blocks', () => {
    expect(readDiskLimits({})).to.deep.equal({});
    expect(readDiskLimits({ byteHard: 1, byte: 5000, byteLimit: 9000 })).to.deep.equal({ bytes: 1024 });
    expect(readDiskLimits({ byte: 5000, byteLimit: 9000 })).to.deep.equal({ bytes: 5120 });
    expect(readDiskLimits({ blockLimit: 3, byteHard: 9_999_999 })).to.deep.equal({ bytes: 3072 });
    expect(readDiskLimits({ inode: 7, inodeLimit: 9, byteSoft: 1 })).to.deep.equal({ inodes: 7 });
    expect(Object.values(writeDiskLimits({}))).to.deep.equal(Array(12).fill(0));
  });

  it('know the container end of a /30', () => {
    expect(isContainerAddressIn('10.9.8.6', '10.9.8.6')).to.equal(true);
    expect(isContainerAddressIn('10.9.8.4', '10.9.8.6')).to.equal(true);
    expect(isContainerAddressIn('10.9.8.8', '10.9.8.6')).to.equal(false);
  });

  it('read rules for outbound traffic', () => {
    const defaults = { protocol: 'TCP' as const, log: false };
    expect(readNetOut({ ...defaults, network: '10.1.2.3/16', port: 80 })).to.deep.equal({
      protocol: 'tcp',
      networks: [{ start: '10.1.0.0', end: '10.1.255.255' }],
      ports: [{ start: 80, end: 80 }],
    });
    expect(readNetOut({ ...defaults, network: '0.0.0.0/0', port: 1, portRange: '5:6', log: true })).to.deep.equal({
      protocol: 'tcp',
      networks: [{ start: '0.0.0.0', end: '255.255.255.255' }],
      ports: [{ start: 5, end: 6 }],
      log: true,
    });
    for (const network of ['10.1.1.1/33', '10.1.1.9-10.1.1.1', '1.2.3', '10.1.1.1/', '::1', '10.0.0.1-']) {
      expect(() => readNetOut({ ...defaults, network }), network).to.throw('network');
    }
    expect(() => readNetOut({ ...defaults, protocol: 'ICMP', network: '1.2.3.4', icmpType: 256 })).to.throw(
      'icmp_type',
    );
    expect(() => readNetOut({ ...defaults, protocol: 'ALL', port: 5 })).to.throw('Ports cannot be specified');
  });

  it('agree with the client on what a rule means', () => {
    const rule = {
      protocol: 'udp' as const,
      networks: [{ start: '10.1.1.1', end: '10.1.1.9' }],
      ports: [{ start: 53, end: 53 }],
      log: true,
    };
    const [request] = netOutRequests(rule);
    const { content } = decodeEnvelope(encodeRequest('NetOut', { handle: 'h', ...request! }));
    expect(readNetOut(decodeRequest('NetOut', content))).to.deep.equal(rule);
  });

  it('fill in the memory figures of cgroup v2 under the names of v1', () => {
    const sources: InfoSources = {
      state: 'active',
      events: ['a'],
      jobIds: [],
      info: {
        state: 'active',
        events: ['out of memory', 'out of memory'],
        ...{ hostIp: '1', containerIp: '2', externalIp: '3', containerPath: '/4' },
        ...{ processIds: [], properties: {}, mappedPorts: [] },
      },
      metrics: {
        memory: {
          ...{ usageBytes: 0, rssBytes: 11, cacheBytes: 22, inactiveFileBytes: 5, swapBytes: 0 },
          counters: { anon: 11, file: 22, file_mapped: 33, inactive_file: 5, pgfault: 6 },
        },
        cpu: { usageNs: 1_000_000_000, userNs: 600_000_000, systemNs: 400_000_000 },
        disk: { bytesUsed: 1, inodesUsed: 2 },
        ...{ imageBytes: 0, pids: { current: 0, max: 0 }, ageMs: 0 },
      },
      limits: { memoryBytes: 77 },
      hasDiskLimits: false,
    };
    const info = describeContainer(sources);
    expect(info.events).to.deep.equal(['out of memory', 'a']);
    expect(info.memoryStat).to.include({
      rss: 11,
      totalRss: 11,
      cache: 22,
      totalCache: 22,
      mappedFile: 33,
      pgfault: 6,
    });
    expect(info.memoryStat).to.include({ totalMappedFile: 33, totalInactiveFile: 5, hierarchicalMemoryLimit: 77 });
    expect(info.cpuStat).to.deep.equal({ usage: 1_000_000_000, user: 60, system: 40 });
    expect(info).not.to.have.property('diskStat');
    expect(info.bandwidthStat).to.include({ inRate: 0xffffffff });
  });

  it('count a grace time from the last release, however long it is', async () => {
    let elapsed = 0;
    const timer = new GraceTimer({ graceTimeMs: 30, onElapsed: () => (elapsed += 1) });
    const [one, other] = [{}, {}];
    timer.refer(one);
    timer.refer(other);
    timer.start();
    timer.release(one);
    timer.release(one);
    expect(elapsed).to.equal(0);
    timer.release(other);
    await eventually(() => (elapsed === 1 ? true : undefined));

    const endless = new GraceTimer({ graceTimeMs: 4_294_967_295_000, onElapsed: () => (elapsed += 1) });
    endless.start();
    await eventually(() => (elapsed === 1 ? true : undefined));
    endless.stop();
  });
});

describe('the output of a job', () => {
  it('is given to each reader from its beginning, and is no more than the limit', async () => {
    let overflows = 0;
    const output = new OutputBuffer({ limitBytes: 10, onOverflow: () => (overflows += 1) });
    const { signal } = new AbortController();
    const read = async () => {
      const parts: string[] = [];
      for await (const { name, data } of output.read(signal)) parts.push(`${name} ${data}`);
      return parts.join();
    };
    const early = read();
    for (const byte of 'abc') output.append('stdout', Buffer.from(byte));
    output.append('stderr', Buffer.from('12345678'));
    output.append('stderr', Buffer.from('9'));
    output.complete();
    const late = await read();
    expect(late).to.equal('stdout abc,stderr 1234567');
    expect((await early).replace(/,stdout /g, '')).to.equal(late);
    expect(overflows).to.equal(1);
    expect(output.contentOf('stderr').toString()).to.equal('1234567');
  });

  it('is no longer waited for after an abort', async () => {
    const output = new OutputBuffer({ limitBytes: 10 });
    const abort = new AbortController();
    const reading = output.read(abort.signal).next();
    abort.abort();
    expect((await reading).done).to.equal(true);
  });
});
