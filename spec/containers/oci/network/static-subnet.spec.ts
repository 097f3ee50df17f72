import { expect } from 'chai';
import { ExhaustedError, InvalidSpecError } from '../../../../lib/containers/errors.js';
import {
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
} from '../../../../lib/containers/oci/network/addresses.js';
import {
  checkNewSubnet,
  chooseAddress,
  parseSubnetRequest,
} from '../../../../lib/containers/oci/network/static-subnet.js';

const pool = parseCidr('10.254.0.0/22');

describe('a request for a subnet', () => {
  it('names a subnet, or an address in one', () => {
    expect(parseSubnetRequest('10.99.1.0/24')).to.deep.equal({ subnet: parseCidr('10.99.1.0/24') });
    expect(parseSubnetRequest('10.99.1.7/24')).to.deep.equal({
      subnet: parseCidr('10.99.1.0/24'),
      address: parseAddress('10.99.1.7'),
    });
  });

  it('means a /30 when it names no prefix', () => {
    expect(formatCidr(parseSubnetRequest('10.99.2.4').subnet)).to.equal('10.99.2.4/30');
    expect(parseSubnetRequest('10.99.2.6').address).to.equal(parseAddress('10.99.2.6'));
  });

  for (const text of ['X', '10.0.0', '10.0.0.256', '::1', '-j ACCEPT', '10.0.0.1 ', '010.0.0.1', '']) {
    it(`is refused when it is ${JSON.stringify(text)}`, () => {
      expect(() => parseSubnetRequest(text)).to.throw(InvalidSpecError, `invalid CIDR address: ${text}/30`);
    });
  }

  for (const text of ['10.0.0.0/33', '10.0.0.0/x', '10.0.0.0/', '10.0.0.0/24/24', 'fd00::/64', '/24']) {
    it(`is refused when it is ${text}`, () => {
      expect(() => parseSubnetRequest(text)).to.throw(InvalidSpecError, `invalid CIDR address: ${text}`);
    });
  }
});

describe('a new subnet', () => {
  const check = (subnet: string, existing: string[] = []) =>
    checkNewSubnet(parseCidr(subnet), { pool, existing: existing.map(parseCidr) });

  it('lies outside the pool', () => {
    for (const subnet of ['10.254.1.0/24', '10.254.3.252/30', '10.0.0.0/8', '0.0.0.0/0']) {
      expect(() => check(subnet)).to.throw(
        InvalidSpecError,
        `the requested subnet (${subnet}) overlaps the dynamic allocation range (10.254.0.0/22)`,
      );
    }
    expect(() => check('10.254.4.0/24')).to.not.throw();
  });

  it('shares no address with another one', () => {
    expect(() => check('10.99.0.0/23', ['10.99.1.0/24'])).to.throw(
      InvalidSpecError,
      'the requested subnet (10.99.0.0/23) overlaps an existing subnet (10.99.1.0/24)',
    );
    expect(() => check('10.99.2.0/24', ['10.99.1.0/24'])).to.not.throw();
  });

  it('takes no addresses that every host uses in its own way', () => {
    for (const subnet of ['127.0.0.0/24', '224.0.0.0/24', '255.255.255.0/24', '0.1.0.0/16']) {
      expect(() => check(subnet), subnet).to.throw(InvalidSpecError, 'is not for containers');
    }
  });
});

describe('the address in a subnet', () => {
  const choose = (request: string, taken: string[] = []) =>
    formatAddress(chooseAddress(parseSubnetRequest(request), (address) => taken.includes(formatAddress(address))));

  it('is the first free one, behind the gateway', () => {
    expect(choose('10.99.1.0/24')).to.equal('10.99.1.2');
    expect(choose('10.99.1.0/24', ['10.99.1.2', '10.99.1.4'])).to.equal('10.99.1.3');
  });

  it('is exactly the one that is asked for', () => {
    expect(choose('10.99.1.200/24')).to.equal('10.99.1.200');
    expect(() => choose('10.99.1.200/24', ['10.99.1.200'])).to.throw(
      InvalidSpecError,
      'the requested IP is already allocated',
    );
  });

  it('is neither the gateway nor the broadcast address', () => {
    const gateway = 'a container IP must not equal the gateway IP';
    expect(() => choose('10.99.1.1/24')).to.throw(InvalidSpecError, gateway);
    expect(() => choose('10.99.2.5')).to.throw(InvalidSpecError, gateway);
    const broadcast = 'a container IP must not equal the broadcast IP';
    expect(() => choose('10.99.1.255/24')).to.throw(InvalidSpecError, broadcast);
    expect(() => choose('10.99.2.7')).to.throw(InvalidSpecError, broadcast);
  });

  it('is missing when all are taken, or there never was one', () => {
    for (const [request, taken] of [
      ['10.99.2.4/30', ['10.99.2.6']],
      ['10.99.2.4/31', []],
      ['10.99.2.4/32', []],
    ] as const) {
      expect(() => choose(request, [...taken])).to.throw(
        ExhaustedError,
        'insufficient IPs remaining in the allocated subnet',
      );
    }
  });
});
