import { expect } from 'chai';
import { SecurityGroupRule } from '../../../lib/bbs/messages/models.js';
import { egressRuleFindings } from '../../../lib/bbs/validation/egress-rules.js';

const anywhere = ['0.0.0.0/0'];

describe('validation of egress rules', () => {
  const rules: [what: string, rule: Partial<SecurityGroupRule>, expected: string][] = [
    ['TCP with ports', { protocol: 'tcp', ports: [1, 65_535] }, ''],
    ['UDP with a range', { protocol: 'udp', portRange: { start: 1, end: 1 } }, ''],
    ['neither ports nor range', { protocol: 'tcp' }, 'Missing required field: ports or port_range'],
    [
      'ports and range',
      { protocol: 'tcp', ports: [1], portRange: { start: 1, end: 2 } },
      'Invalid: ports and port_range provided',
    ],
    ['a range that runs backwards', { protocol: 'tcp', portRange: { start: 2, end: 1 } }, 'Invalid field: port_range'],
    ['port 0', { protocol: 'tcp', ports: [0] }, 'Invalid field: ports'],
    ['port 65536', { protocol: 'udp', portRange: { start: 1, end: 65_536 } }, 'Invalid field: port_range'],
    [
      'ICMP information for TCP',
      { protocol: 'tcp', ports: [1], icmpInfo: { type: 0, code: 0 } },
      'Invalid field: icmp_info',
    ],
    ['ICMP', { protocol: 'icmp', icmpInfo: { type: -1, code: -1 } }, ''],
    ['ICMP without its information', { protocol: 'icmp' }, 'Invalid field: icmp_info'],
    [
      'ICMP version 6 with ports and without its information',
      { protocol: 'icmpv6', ports: [1] },
      'Invalid field: ports, Invalid field: icmpv6_info',
    ],
    ['everything', { protocol: 'all' }, ''],
    [
      'everything, with more',
      { protocol: 'all', portRange: { start: 1, end: 2 }, icmpInfo: { type: 0, code: 0 } },
      'Invalid field: port_range, Invalid field: icmp_info',
    ],
    ['another protocol', { protocol: 'sctp' }, 'Invalid field: protocol'],
    [
      'no destination',
      { protocol: 'all', destinations: [] },
      'Invalid field: destinations [ Must have at least 1 destination ]',
    ],
  ];
  for (const [what, rule, expected] of rules) {
    it(`answers ${expected === '' ? 'nothing' : `"${expected}"`} to ${what}`, () => {
      const findings = egressRuleFindings(SecurityGroupRule.create({ destinations: anywhere, ...rule }));
      expect(findings.join(', ')).to.equal(expected);
    });
  }

  for (const destination of [
    '10.0.0.1',
    '10.0.0.0/8,192.168.0.0/16',
    '10.0.0.1-10.0.0.1',
    '10.0.0.1-10.1.0.0',
    'fe80::1',
    '::/0',
    '2001:db8::1-2001:db8::ff',
    '::ffff:10.0.0.1-10.0.0.2',
  ]) {
    it(`takes the destination ${destination}`, () => {
      expect(
        egressRuleFindings(SecurityGroupRule.create({ protocol: 'all', destinations: [destination] })),
      ).to.deep.equal([]);
    });
  }

  for (const [destination, fault] of [
    ['example.com', 'Invalid IP'],
    ['10.0.0.300', 'Invalid IP'],
    ['fe80::1%eth0', 'Invalid IP'],
    ['10.0.0.2-10.0.0.1', 'Invalid IP'],
    ['2001:db8::1-10.0.0.1', 'Invalid IP'],
    ['10.0.0.1-', 'Invalid IP'],
    ['10.0.0.0/33', 'invalid CIDR address: 10.0.0.0/33'],
    ['10.0.0.1,nowhere,', 'Invalid IP, Invalid IP'],
  ] as const) {
    it(`refuses the destination ${destination}`, () => {
      expect(
        egressRuleFindings(SecurityGroupRule.create({ protocol: 'all', destinations: [destination] })),
      ).to.deep.equal([`Invalid field: destinations [ ${fault} ]`]);
    });
  }
});
