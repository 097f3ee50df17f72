import { expect } from 'chai';
import { type Fault, Faults, faultSchema } from '../../../lib/mini-cc/test-double/faults.js';

type Waiting = Parameters<Faults['add']>[0];
const parse = (fault: unknown): Fault => faultSchema.parse(fault);
const withFaults = (...given: unknown[]) => {
  const faults = new Faults();
  for (const each of given) faults.add(parse(each) as Waiting);
  return faults;
};

describe('the faults of a test double', () => {
  it('happen as often as they were asked for, then no more', () => {
    const faults = withFaults({ fault: 'drop', subject: 'dea.*.start', count: 2 });
    const hits = Array.from({ length: 3 }, () => faults.ofMessage('dea.a.start', 'out')?.fault);
    expect(hits).to.deep.equal(['drop', 'drop', undefined]);
    expect(faults.list()).to.deep.equal([]);
  });

  it('happen without end when no number is given, until they are taken back', () => {
    const faults = withFaults({ fault: 'drop', subject: 'dea.stop' });
    for (let time = 0; time < 5; time += 1) expect(faults.ofMessage('dea.stop', 'out')?.fault).to.equal('drop');
    const { id } = faults.list()[0]!;
    expect([faults.remove(id), faults.remove(id)]).to.deep.equal([true, false]);
    expect(faults.ofMessage('dea.stop', 'out')).to.equal(undefined);
  });

  it('hit only what they name', () => {
    const faults = withFaults(
      { fault: 'delay', subject: 'dea.advertise', direction: 'in', milliseconds: 5 },
      { fault: 'status', path: '/v2/apps/*/stats', method: 'get', status: 503 },
      { fault: 'lose-staging-reply', reply: 'second' },
    );
    expect(faults.ofMessage('dea.advertise', 'out')).to.equal(undefined);
    expect(faults.ofMessage('dea.stop', 'in')).to.equal(undefined);
    expect(faults.ofMessage('dea.advertise', 'in')).to.deep.include({ fault: 'delay', milliseconds: 5 });
    expect(faults.ofRequest('PUT', '/v2/apps/x/stats')).to.equal(undefined);
    expect(faults.ofRequest('GET', '/v2/apps/x')).to.equal(undefined);
    expect(faults.ofRequest('GET', '/v2/apps/x/stats')).to.deep.include({ status: 503 });
    expect(faults.ofRequest('GET', '/v2/apps/x/stats')).to.equal(undefined);
    expect(faults.ofStagingReply(1)).to.equal(undefined);
    expect(faults.ofStagingReply(2)?.fault).to.equal('lose-staging-reply');
    expect(faults.ofJob()).to.equal(undefined);
  });

  it('happen in the order they were asked for', () => {
    const faults = withFaults(
      { fault: 'status', path: '/staging', status: 500, count: 1 },
      { fault: 'status', path: '/staging', status: 404, count: 1 },
    );
    const stati = [1, 2]
      .map(() => faults.ofRequest('GET', '/staging/apps/x'))
      .map((fault) => (fault as { status: number }).status);
    expect(stati).to.deep.equal([500, 404]);
  });

  it('have defaults, and are refused with the faulty field', () => {
    expect(parse({ fault: 'truncate' })).to.deep.equal({
      fault: 'truncate',
      path: '/staging/droplets/*/download',
      how: 'short',
      count: 1,
    });
    const bad: [unknown, string][] = [
      [{ fault: 'explode' }, 'fault'],
      [{ fault: 'drop' }, 'subject'],
      [{ fault: 'status', path: 'v2', status: 500 }, 'path'],
      [{ fault: 'status', path: '/v2', status: 99 }, 'status'],
      [{ fault: 'generation', generation: 2013 }, 'generation'],
      [{ fault: 'drop', subject: 'x', count: 0 }, 'count'],
    ];
    for (const [fault, field] of bad) {
      const { error } = faultSchema.safeParse(fault);
      expect(error?.issues[0]?.path, JSON.stringify(fault)).to.deep.equal([field]);
    }
    expect(faultSchema.safeParse({ fault: 'job', outcome: 'fails', outcomes: 1 }).success).to.equal(false);
  });
});
