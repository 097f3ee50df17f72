import { expect } from 'chai';
import type { NetOutRule } from '../../../../../lib/containers/engine.js';
import { InvalidSpecError } from '../../../../../lib/containers/errors.js';
import { netOutMatches } from '../../../../../lib/containers/oci/network/firewall/net-out.js';

describe('an egress rule', () => {
  const cases: [string, NetOutRule, string[]][] = [
    ['everything', { protocol: 'all' }, ['']],
    ['a protocol', { protocol: 'udp', networks: [], ports: [] }, ['-p udp']],
    ['an address', { protocol: 'all', networks: [{ start: '10.0.0.1', end: '10.0.0.1' }] }, ['-d 10.0.0.1']],
    [
      'ranges of addresses times ranges of ports',
      {
        protocol: 'tcp',
        networks: [
          { start: '10.0.0.1', end: '10.0.0.9' },
          { start: '10.1.0.1', end: '10.1.0.1' },
        ],
        ports: [
          { start: 80, end: 80 },
          { start: 8000, end: 8080 },
        ],
      },
      [
        '-m iprange --dst-range 10.0.0.1-10.0.0.9 -p tcp -m tcp --dport 80',
        '-m iprange --dst-range 10.0.0.1-10.0.0.9 -p tcp -m tcp --dport 8000:8080',
        '-d 10.1.0.1 -p tcp -m tcp --dport 80',
        '-d 10.1.0.1 -p tcp -m tcp --dport 8000:8080',
      ],
    ],
    ['all ICMP', { protocol: 'icmp' }, ['-p icmp -m icmp --icmp-type any']],
    ['any ICMP type', { protocol: 'icmp', icmp: { type: 255, code: 0 } }, ['-p icmp -m icmp --icmp-type any']],
    ['any ICMP type, for -1', { protocol: 'icmp', icmp: { type: -1 } }, ['-p icmp -m icmp --icmp-type any']],
    [
      'a network of which only the start is given',
      { protocol: 'all', networks: [{ start: '10.0.0.1', end: '' }] },
      ['-d 10.0.0.1'],
    ],
    [
      'a network of which only the end is given',
      { protocol: 'all', networks: [{ start: '', end: '10.0.0.9' }] },
      ['-d 10.0.0.9'],
    ],
    [
      'nothing at all where the ends are the wrong way about',
      { protocol: 'all', networks: [{ start: '10.0.0.9', end: '10.0.0.1' }] },
      ['-m iprange --dst-range 10.0.0.9-10.0.0.1'],
    ],
    [
      'ports of which only the end is given',
      { protocol: 'udp', ports: [{ start: 0, end: 53 }] },
      ['-p udp -m udp --dport 0:53'],
    ],
    ['an ICMP type', { protocol: 'icmp', icmp: { type: 8, code: -1 } }, ['-p icmp -m icmp --icmp-type 8']],
    ['an ICMP code', { protocol: 'icmp', icmp: { type: 3, code: 1 } }, ['-p icmp -m icmp --icmp-type 3/1']],
  ];
  for (const [what, rule, matches] of cases) {
    it(`matches ${what}`, () => expect(netOutMatches(rule)).to.deep.equal(matches));
  }

  const faults: [string, NetOutRule, string][] = [
    [
      'ports with ALL',
      { protocol: 'all', ports: [{ start: 1, end: 1 }] },
      'Ports cannot be specified for Protocol ALL',
    ],
    [
      'ports with ICMP',
      { protocol: 'icmp', ports: [{ start: 1, end: 1 }] },
      'Ports cannot be specified for Protocol ICMP',
    ],
    ['a reversed port range', { protocol: 'tcp', ports: [{ start: 9, end: 1 }] }, 'invalid portrange (min > max)'],
    [
      'a port beyond 65535',
      { protocol: 'tcp', ports: [{ start: 1, end: 65536 }] },
      'invalid portrange (65536 is not a port)',
    ],
    ['an IPv6 address', { protocol: 'all', networks: [{ start: '::1', end: '::1' }] }, 'invalid IP address: ::1'],
    [
      'option-like text',
      { protocol: 'all', networks: [{ start: '-j ACCEPT', end: '' }] },
      'invalid IP address: -j ACCEPT',
    ],
    [
      'only the start of a port range',
      { protocol: 'tcp', ports: [{ start: 80, end: 0 }] },
      'invalid portrange (min > max)',
    ],
    [
      'a port that is no whole number',
      { protocol: 'tcp', ports: [{ start: 1.5, end: 2 }] },
      'invalid portrange (1.5 is not a port)',
    ],
    ['a protocol that nobody knows', { protocol: '7' as 'tcp' }, 'invalid protocol: 7'],
    ['a senseless ICMP type', { protocol: 'icmp', icmp: { type: 256 } }, 'invalid ICMP type 256/-1'],
  ];
  for (const [what, rule, message] of faults) {
    it(`is refused for ${what}`, () => expect(() => netOutMatches(rule)).to.throw(InvalidSpecError, message));
  }
});
