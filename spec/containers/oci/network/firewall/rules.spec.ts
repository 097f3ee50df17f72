import { expect } from 'chai';
import type { NetOutRule } from '../../../../../lib/containers/engine.js';
import { InvalidSpecError } from '../../../../../lib/containers/errors.js';
import {
  commonRules,
  containerRules,
  type FirewallContainer,
  type FirewallPolicy,
  interfaceName,
  netOutRules,
  removeAllRules,
  removeContainerRules,
  removeSubnetRules,
  renderChange,
  resetRules,
  subnetRules,
} from '../../../../../lib/containers/oci/network/firewall/rules.js';

const policy: FirewallPolicy = {
  tag: 'beef',
  pool: '10.254.0.0/22',
  denyNetworks: [],
  allowNetworks: [],
  allowHostAccess: false,
  dnsServers: [],
};

const container: FirewallContainer = {
  id: '7',
  handle: 'app',
  containerIp: '10.254.0.30',
  mappedPorts: [],
  netOut: [],
};

const anywhere: NetOutRule = { protocol: 'all' };

describe('firewall rules', () => {
  it('ask for allowed networks before denied ones', () => {
    const { filter } = commonRules({ ...policy, denyNetworks: ['0.0.0.0/0'], allowNetworks: ['10.0.0.0/8'] }, '');
    expect(filter.filter((line) => line.startsWith('-A isthmus-beef-default'))).to.deep.equal([
      '-A isthmus-beef-default -d 10.0.0.0/8 -j ACCEPT',
      '-A isthmus-beef-default -d 0.0.0.0/0 -j REJECT --reject-with icmp-port-unreachable',
      '-A isthmus-beef-default -j ACCEPT',
    ]);
  });

  it('need no call for a container without mapped ports and egress rules', () => {
    expect(renderChange(containerRules(policy, container))).to.equal('');
    expect(renderChange(removeContainerRules('beef', container))).to.equal('');
  });

  it('map TCP ports on every address of the host', () => {
    const mappedPorts = [{ hostPort: 61001, containerPort: 8080 }];
    const rule =
      'isthmus-beef-mapped -p tcp -m tcp --dport 61001 -m comment --comment "app" -j DNAT --to-destination 10.254.0.30:8080';
    expect(renderChange(containerRules(policy, { ...container, mappedPorts }))).to.equal(`*nat\n-A ${rule}\nCOMMIT\n`);
    expect(renderChange(removeContainerRules('beef', { ...container, mappedPorts }))).to.equal(
      `*nat\n-D ${rule}\nCOMMIT\n`,
    );
  });

  it('put the newest egress rule in front, and a jump only before the first', () => {
    const tcp: NetOutRule = { protocol: 'tcp', ports: [{ start: 443, end: 443 }] };
    const first = netOutRules('beef', container, [anywhere]).filter;
    const second = netOutRules('beef', { ...container, netOut: [anywhere] }, [tcp]).filter;
    expect(first.filter((line) => line.startsWith('-I'))).to.deep.equal([
      '-I isthmus-beef-outward 2 -i isthbeef-7 -g isthmus-beef-7',
    ]);
    expect(second.filter((line) => line.startsWith('-I'))).to.deep.equal([]);
    expect(second.filter((line) => line.includes('-A isthmus-beef-7 '))).to.deep.equal([
      '-A isthmus-beef-7 -p tcp -m tcp --dport 443 -m comment --comment "app" -j ACCEPT',
      '-A isthmus-beef-7 -m comment --comment "app" -j ACCEPT',
      '-A isthmus-beef-7 -g isthmus-beef-default',
    ]);
  });

  it('log with the first 28 characters of the handle', () => {
    const handle = 'h'.repeat(40);
    const { filter } = netOutRules('beef', { ...container, handle }, [{ ...anywhere, log: true }]);
    expect(filter).to.include(
      `-A isthmus-beef-7-log -m conntrack --ctstate INVALID,NEW,UNTRACKED -j LOG --log-prefix "${'h'.repeat(28)} "`,
    );
    expect(filter).to.include(`-A isthmus-beef-7 -m comment --comment "${handle}" -g isthmus-beef-7-log`);
  });

  it('send a container on a shared subnet by its address to its own chain', () => {
    const shared = { ...container, id: 's3', bridge: 'isthbeef-b0', netOut: [anywhere] };
    const jump = 'isthmus-beef-outward -s 10.254.0.30/32 -i isthbeef-b0 -g isthmus-beef-s3';
    expect(containerRules(policy, shared).filter.at(-1)).to.equal(
      '-I isthmus-beef-outward 2 -s 10.254.0.30/32 -i isthbeef-b0 -g isthmus-beef-s3',
    );
    expect(removeContainerRules('beef', shared).filter[0]).to.equal(`-D ${jump}`);
  });

  it('of a shared subnet can be taken back line by line', () => {
    const subnet = { cidr: '10.99.1.0/24', bridge: 'isthbeef-b0' };
    const added = subnetRules('beef', subnet);
    const removed = removeSubnetRules('beef', subnet);
    const undone = (lines: string[]) => lines.map((line) => line.replace(/^-A /, '-D '));
    expect(removed).to.deep.equal({ nat: undone(added.nat), filter: undone(added.filter) });
    expect(resetRules(policy, { containers: [], subnets: [subnet] }, '').nat).to.include.members(added.nat);
  });

  it('are not made in numbers that would keep the kernel busy', () => {
    const ports = Array.from({ length: 101 }, (_, number) => ({ start: number, end: number }));
    const networks = ports.map((_, number) => ({ start: `10.0.0.${number}`, end: `10.0.0.${number}` }));
    expect(() => netOutRules('beef', container, [{ protocol: 'tcp', networks, ports }])).to.throw(
      InvalidSpecError,
      'netOut: more than 10000',
    );
  });

  it('close the host to containers, name servers excepted', () => {
    const { filter } = commonRules({ ...policy, dnsServers: ['10.1.1.1'] }, '');
    expect(filter.filter((line) => line.startsWith('-A isthmus-beef-input'))).to.deep.equal([
      '-A isthmus-beef-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A isthmus-beef-input -d 10.1.1.1 -p udp -m udp --dport 53 -j ACCEPT',
      '-A isthmus-beef-input -d 10.1.1.1 -p tcp -m tcp --dport 53 -j ACCEPT',
      '-A isthmus-beef-input -j REJECT --reject-with icmp-host-prohibited',
    ]);
    expect(commonRules({ ...policy, allowHostAccess: true }, '').filter).to.include('-A isthmus-beef-input -j ACCEPT');
  });

  it('of a running engine survive the start of the next one', () => {
    const first = commonRules(policy, '');
    const saved = `*nat\n${asSaved(first.nat)}COMMIT\n*filter\n${asSaved(first.filter)}COMMIT\n`;
    const second = renderChange(commonRules(policy, saved));
    expect(second).to.not.include(':isthmus-beef-mapped').and.not.include(':isthmus-beef-outward');
    expect(second).to.not.match(/^-I /m);
  });

  it('are brought to what they must be, and strays of a crash removed', () => {
    const saved =
      '*filter\n:isthmus-beef-3 - [0:0]\n:isthmus-beef-3-log - [0:0]\n:isthmus-beef-7 - [0:0]\n:isthmus-bee-3 - [0:0]\nCOMMIT\n';
    const wanted = { ...container, netOut: [anywhere], mappedPorts: [{ hostPort: 1, containerPort: 2 }] };
    const { nat, filter } = resetRules(policy, { containers: [wanted], subnets: [] }, saved);
    expect(filter.slice(-4)).to.deep.equal([
      '-F isthmus-beef-3',
      '-F isthmus-beef-3-log',
      '-X isthmus-beef-3',
      '-X isthmus-beef-3-log',
    ]);
    expect(nat.at(-1)).to.include('--dport 1 ').and.include(':2');
    expect(nat.lastIndexOf(':isthmus-beef-mapped - [0:0]')).to.equal(nat.length - 2);
  });

  it('can all be removed again', () => {
    const made = commonRules(policy, '');
    const saved = `*nat\n${asSaved(made.nat)}COMMIT\n*filter\n${asSaved(made.filter)}:DOCKER - [0:0]\nCOMMIT\n`;
    const { nat, filter } = removeAllRules('beef', saved);
    expect(nat.filter((line) => line.startsWith('-D'))).to.have.length(3);
    expect(filter.filter((line) => line.startsWith('-D'))).to.have.length(3);
    expect([...nat, ...filter].filter((line) => line.startsWith('-X'))).to.have.length(8);
    expect([...nat, ...filter].join()).to.not.include('DOCKER');
  });

  it('have link names that the kernel takes', () => {
    expect(interfaceName('beef', 's99999')).to.have.length.at.most(15);
  });
});

/** What `iptables-save` would print after these lines. */
function asSaved(lines: string[]): string {
  return `\n${lines.map((line) => line.replace(/^-I /, '-A ')).join('\n')}\n`;
}
