import { expect } from 'chai';
import { ExhaustedError } from '../../../../lib/containers/errors.js';
import {
  formatAddress,
  hardwareAddress,
  overlaps,
  parseAddress,
  parseCidr,
} from '../../../../lib/containers/oci/network/addresses.js';
import { defaultInterface, parseRoutes } from '../../../../lib/containers/oci/network/host.js';
import { PortPool } from '../../../../lib/containers/oci/network/port-pool.js';
import { SubnetPool } from '../../../../lib/containers/oci/network/subnet-pool.js';

const anyone = () => false;
const usable = async () => true;

async function failureOf(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('addresses', () => {
  it('survive the way to a number and back', () => {
    for (const text of ['0.0.0.0', '10.254.3.255', '192.168.0.1', '255.255.255.255']) {
      expect(formatAddress(parseAddress(text))).to.equal(text);
    }
  });

  it('are refused when they are none', async () => {
    for (const text of ['10.0.0', '::1', '10.0.0.256', 'host']) {
      expect(await failureOf(() => parseAddress(text)))
        .to.be.an('error')
        .with.property('message')
        .includes(text);
    }
    for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0/8']) {
      expect(await failureOf(() => parseCidr(text))).to.be.an('error');
    }
  });

  it('have a hardware address each, which is nobody else’s', () => {
    expect(hardwareAddress('10.254.0.2')).to.equal('02:00:0a:fe:00:02');
  });

  it('overlap when one network holds the other', () => {
    const [wide, narrow, other] = ['10.254.0.0/22', '10.254.3.8/30', '10.254.4.0/30'].map(parseCidr);
    expect(overlaps(wide!, narrow!)).to.equal(true);
    expect(overlaps(narrow!, wide!)).to.equal(true);
    expect(overlaps(wide!, other!)).to.equal(false);
    expect(overlaps(parseCidr('0.0.0.0/0'), other!)).to.equal(true);
  });
});

describe('routes of the host', () => {
  const table = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    '',
  ].join('\n');

  it('are read from the kernel with their networks', () => {
    expect(parseRoutes(table)).to.deep.equal([
      { interface: 'eth0', destination: { base: 0, prefixLength: 0 }, isDirect: false },
      { interface: 'eth0', destination: parseCidr('192.0.2.0/24'), isDirect: true },
    ]);
    expect(defaultInterface(parseRoutes(table))).to.equal('eth0');
    expect(defaultInterface([])).to.equal(undefined);
  });
});

describe('the subnet pool', () => {
  const pool = parseCidr('10.254.0.0/28');

  it('hands out every /30 once, the host end first', () => {
    const subnets = new SubnetPool({ pool, restMs: 0 });
    const taken = Array.from({ length: 4 }, () => subnets.acquire(0, anyone).subnet);
    expect(taken.map(({ hostIp, containerIp }) => `${hostIp} ${containerIp}`)).to.deep.equal([
      '10.254.0.1 10.254.0.2',
      '10.254.0.5 10.254.0.6',
      '10.254.0.9 10.254.0.10',
      '10.254.0.13 10.254.0.14',
    ]);
    expect(() => subnets.acquire(0, anyone)).to.throw(ExhaustedError);
  });

  it('lets a released subnet rest, and hands it out last', () => {
    const subnets = new SubnetPool({ pool, restMs: 5_000 });
    const first = subnets.acquire(0, anyone).subnet;
    subnets.release(first.index, 1_000);
    for (let taken = 0; taken < 3; taken += 1) expect(subnets.acquire(1_000, anyone)).to.include({ ripeInMs: 0 });
    expect(subnets.acquire(2_000, anyone)).to.deep.equal({ subnet: first, ripeInMs: 4_000 });
  });

  it('passes over what the host uses, and what was claimed', () => {
    const subnets = new SubnetPool({ pool, restMs: 0 });
    subnets.claim(0);
    expect(subnets.acquire(0, ({ index }) => index === 1).subnet.index).to.equal(2);
    subnets.release(0, 0);
    subnets.release(0, 0);
    expect([1, 2, 3].map(() => subnets.acquire(0, anyone).subnet.index)).to.deep.equal([1, 3, 0]);
  });

  it('begins where it is told', () => {
    const subnets = new SubnetPool({ pool, restMs: 0, firstIndex: 7 });
    expect([1, 2].map(() => subnets.acquire(0, anyone).subnet.index)).to.deep.equal([3, 0]);
  });
});

describe('the port pool', () => {
  it('hands out ports in order and released ones last', async () => {
    const ports = new PortPool({ start: 61001, size: 3, offset: 0 });
    expect(await ports.acquire(usable)).to.equal(61001);
    ports.release(61001);
    expect(await ports.acquire(usable)).to.equal(61002);
    expect(await ports.acquire(usable)).to.equal(61003);
    expect(await ports.acquire(usable)).to.equal(61001);
    expect(await failureOf(() => ports.acquire(usable))).to.be.instanceOf(ExhaustedError);
  });

  it('goes on where the last engine stopped', async () => {
    const ports = new PortPool({ start: 61001, size: 10, offset: 0 });
    await ports.acquire(usable);
    await ports.acquire(usable);
    const next = new PortPool({ start: 61001, size: 10, offset: ports.offset });
    expect(await next.acquire(usable)).to.equal(61003);
  });

  it('passes over ports that somebody listens on', async () => {
    const ports = new PortPool({ start: 61001, size: 3, offset: 0 });
    expect(await ports.acquire(async (port) => port === 61003)).to.equal(61003);
    expect(await failureOf(() => ports.acquire(async () => false))).to.be.instanceOf(ExhaustedError);
    expect(await ports.acquire(usable)).to.equal(61001);
  });

  it('ignores foreign ports and ends below 65536', async () => {
    const ports = new PortPool({ start: 61001, size: 1, offset: 0 });
    ports.release(80);
    ports.claim(61001);
    expect(await failureOf(() => ports.acquire(usable))).to.be.instanceOf(ExhaustedError);
    expect(() => new PortPool({ start: 65000, size: 4534, offset: 0 })).to.throw(RangeError);
  });
});
