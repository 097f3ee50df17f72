import { expect } from 'chai';
import { cpuQuotaOf } from '../../../../lib/containers/oci/cgroups/cpu-quota.js';
import { findHierarchies } from '../../../../lib/containers/oci/cgroups/hierarchies.js';
import { cpuWeight, memoryFromV1, parseFlatKeyed, parseLimit } from '../../../../lib/containers/oci/cgroups/stats.js';
import { parseMountInfo } from '../../../../lib/containers/oci/mounts.js';

describe('control group files', () => {
  it('converts shares to weights as current runtimes do', () => {
    expect([0, 2, 256, 1024, 2048, 262_144, 1_000_000].map(cpuWeight)).to.deep.equal([
      1, 1, 35, 100, 174, 10_000, 10_000,
    ]);
  });

  it('turns shares into a quota of at least a millisecond, where each has its part', () => {
    expect(cpuQuotaOf(1024, 100)).to.deep.equal({ quota: 102_400, period: 100_000 });
    expect(cpuQuotaOf(2, 0.5)).to.deep.equal({ quota: 1_000, period: 100_000 });
    expect(cpuQuotaOf(1024, undefined)).to.equal(undefined);
  });

  it('never lets more shares mean less weight', () => {
    let last = 0;
    for (let shares = 2; shares <= 262_144; shares *= 1.1) {
      const weight = cpuWeight(shares);
      expect(weight).to.be.at.least(last).and.at.most(10_000);
      last = weight;
    }
  });

  it('counts the memory of the groups below, too', () => {
    const text =
      'cache 1\nrss 2\ninactive_file 3\nswap 4\ntotal_cache 10\ntotal_rss 20\ntotal_inactive_file 30\ntotal_swap 40\n';
    const memory = memoryFromV1(text);
    expect(memory).to.deep.include({ cacheBytes: 10, rssBytes: 20, inactiveFileBytes: 30, swapBytes: 40 });
    expect(memory.counters).to.include({ rss: 2, total_rss: 20 });
  });

  it('reads max as no limit', () => {
    expect(parseLimit('max\n')).to.equal(0);
    expect(parseLimit('50\n')).to.equal(50);
  });

  it('reads flat keyed files', () => {
    expect([...parseFlatKeyed('oom_kill_disable 0\nunder_oom 0\noom_kill 7\n')]).to.deep.equal([
      ['oom_kill_disable', 0],
      ['under_oom', 0],
      ['oom_kill', 7],
    ]);
  });
});

describe('the choice of the control group version', () => {
  const line = (path: string, type: string, options: string) =>
    `30 25 0:26 / ${path} rw,relatime shared:5 - ${type} cgroup rw,${options}\n`;
  const v1 =
    line('/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'cpu,cpuacct') +
    line('/sys/fs/cgroup/memory', 'cgroup', 'memory') +
    line('/sys/fs/cgroup/systemd', 'cgroup', 'xattr,name=systemd');

  it('is 1 when memory has a hierarchy of its own, and finds controllers that share one', () => {
    const found = findHierarchies(parseMountInfo(v1 + line('/sys/fs/cgroup/unified', 'cgroup2', 'nsdelegate')));
    expect(found).to.deep.include({ version: 1, unified: '/sys/fs/cgroup/unified' });
    if (found?.version !== 1) throw new Error('unreachable');
    expect(found.controllers.get('cpu')).to.equal('/sys/fs/cgroup/cpu,cpuacct');
    expect(found.controllers.get('cpuacct')).to.equal('/sys/fs/cgroup/cpu,cpuacct');
    expect(found.all).to.have.length(4);
  });

  it('is 2 when there is the unified hierarchy only', () => {
    const found = findHierarchies(parseMountInfo(line('/sys/fs/cgroup', 'cgroup2', 'nsdelegate')));
    expect(found).to.deep.equal({ version: 2, root: '/sys/fs/cgroup' });
  });

  it('is none without any', () => {
    expect(findHierarchies(parseMountInfo(line('/tmp', 'tmpfs', 'size=4k')))).to.equal(undefined);
  });

  it('understands blanks in mount points', () => {
    const [mount] = parseMountInfo('46 27 7:0 /a\\040b /mnt/with\\040blank rw - ext4 /dev/loop0 rw\n');
    expect(mount).to.include({ path: '/mnt/with blank', root: '/a b', source: '/dev/loop0' });
  });
});
