import { expect } from 'chai';
import { InvalidEgressRuleError, netOutRules } from '../../lib/dea/egress-rules.js';

const everywhere = { start: '0.0.0.0', end: '255.255.255.255' };

describe('egress rules', () => {
  it('puts rules without log first and drops exact duplicates', () => {
    const rules = netOutRules([
      { protocol: 'tcp', destination: '0.0.0.0/0', ports: '80,443,8000-9000', log: true },
      { protocol: 'udp', destination: '8.8.8.8', ports: '53' },
      { protocol: 'udp', destination: '8.8.8.8', ports: '53' },
      { protocol: 'icmp', destination: '0.0.0.0/0', type: 0, code: -1 },
    ]);
    expect(rules).to.deep.equal([
      { protocol: 'udp', networks: [{ start: '8.8.8.8', end: '8.8.8.8' }], ports: [{ start: 53, end: 53 }] },
      { protocol: 'icmp', networks: [everywhere], icmp: { type: 0, code: -1 } },
      { protocol: 'tcp', networks: [everywhere], ports: [{ start: 80, end: 80 }], log: true },
      { protocol: 'tcp', networks: [everywhere], ports: [{ start: 443, end: 443 }], log: true },
      { protocol: 'tcp', networks: [everywhere], ports: [{ start: 8000, end: 9000 }], log: true },
    ]);
  });

  it('drops what is the same in other words', () => {
    const rules = netOutRules([
      { protocol: 'tcp', destination: '10.1.2.3/8', ports: '80, 80' },
      { destination: '10.0.0.0/8', protocol: 'tcp', ports: '80', log: false },
      { protocol: 'all', destination: '1.1.1.1' },
      { protocol: 'all', destination: '1.1.1.1', ports: '80' },
    ]);
    expect(rules).to.have.lengthOf(2);
  });

  it('leaves out what an ICMP rule does not tell', () => {
    const icmp = (fields: object) => netOutRules([{ protocol: 'icmp', destination: '0.0.0.0/0', ...fields }])[0];
    expect(icmp({ type: 8 })).to.deep.equal({ protocol: 'icmp', networks: [everywhere], icmp: { type: 8 } });
    for (const fields of [{}, { type: null, code: 1 }]) {
      expect(icmp(fields)).to.deep.equal({ protocol: 'icmp', networks: [everywhere] });
    }
  });

  it('understands addresses, networks and ranges', () => {
    const networks = ['10.1.2.3', '10.1.2.3/24', '10.0.0.1-10.0.0.255'].map(
      (destination) => netOutRules([{ protocol: 'all', destination }])[0]!.networks![0],
    );
    expect(networks).to.deep.equal([
      { start: '10.1.2.3', end: '10.1.2.3' },
      { start: '10.1.2.0', end: '10.1.2.255' },
      { start: '10.0.0.1', end: '10.0.0.255' },
    ]);
  });

  it('tolerates spaces around ports, and null for all of them', () => {
    const spaced = netOutRules([{ protocol: 'tcp', destination: '1.1.1.1', ports: ' 80, 90 - 91' }]);
    expect(spaced.map(({ ports }) => ports)).to.deep.equal([[{ start: 80, end: 80 }], [{ start: 90, end: 91 }]]);
    expect(netOutRules([{ protocol: 'tcp', destination: '1.1.1.1', ports: null }])[0]).not.to.have.property('ports');
  });

  const faults: [rule: Parameters<typeof netOutRules>[0][0], text: string][] = [
    [{ destination: '1.1.1.1' }, 'Invalid protocol in egress rule: '],
    [{ protocol: ['tcp'], destination: '1.1.1.1' }, 'Invalid protocol in egress rule: ["tcp"]'],
    [{ protocol: 'tcp' }, 'Invalid destination in egress rule: null'],
    [{ protocol: 'TCP', destination: '1.1.1.1' }, 'Invalid protocol in egress rule: TCP'],
    [{ protocol: 'tcp', destination: '1.1.1.1', ports: '' }, 'Invalid ports in egress rule: ""'],
    [{ protocol: 'tcp', destination: '1.1.1.1', ports: '90-80' }, 'Invalid ports in egress rule: "90-80"'],
    [{ protocol: 'tcp', destination: '1.1.1.1', ports: '70000' }, 'Invalid ports in egress rule: "70000"'],
    [{ protocol: 'all', destination: 'example.com' }, 'Invalid destination in egress rule: "example.com"'],
    [{ protocol: 'all', destination: '1.1.1.1/33' }, 'Invalid destination in egress rule: "1.1.1.1/33"'],
  ];
  for (const [rule, text] of faults) {
    it(`refuses ${JSON.stringify(rule)}`, () => {
      expect(() => netOutRules([rule])).to.throw(InvalidEgressRuleError, text);
    });
  }
});
