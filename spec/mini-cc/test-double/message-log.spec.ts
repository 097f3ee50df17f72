import { expect } from 'chai';
import { MessageLog, matchesSubject } from '../../../lib/mini-cc/test-double/message-log.js';

describe('the log of all messages', () => {
  it('has each with its time and number, without secrets', () => {
    const log = new MessageLog(() => Date.parse('2015-06-30T13:52:36Z'));
    const uri = 'http://staging_user:hidden@10.0.0.10/x';
    log.add({
      direction: 'out',
      via: 'bus',
      subject: 'dea.x.start',
      body: { env: ['A=hidden'], executableUri: uri, uri },
    });
    log.add({ direction: 'in', via: 'http', method: 'GET', url: '/files?hmac=hidden&path=x' });
    const [message, request] = log.list();
    expect(message).to.deep.equal({
      id: 1,
      time: '2015-06-30T13:52:36.000Z',
      direction: 'out',
      via: 'bus',
      subject: 'dea.x.start',
      body: { env: '<redacted>', executableUri: '<redacted>', uri: 'http://10.0.0.10/x' },
    });
    expect(request!.url).to.equal('/files?hmac=<redacted>&path=x');
  });

  it('takes the body of a request when it has been read', () => {
    const log = new MessageLog(() => 0);
    const tell = log.add({ direction: 'in', via: 'http', method: 'PUT', url: '/' });
    tell({ name: 'shop', env: { A: 'hidden' } });
    expect(log.list()[0]!.body).to.deep.equal({ name: 'shop', env: '<redacted>' });
  });

  it('gives what is new, or of some subjects', () => {
    const log = new MessageLog(() => 0);
    for (const subject of ['dea.a.start', 'dea.stop', 'staging.a.start']) {
      log.add({ direction: 'out', via: 'bus', subject });
    }
    expect(log.list({ since: 2 }).map(({ id }) => id)).to.deep.equal([3]);
    expect(log.list({ subject: 'dea.*.start' }).map(({ id }) => id)).to.deep.equal([1]);
  });

  it('keeps the last ten thousand', () => {
    const log = new MessageLog(() => 0);
    for (let number = 0; number < 10_003; number += 1) log.add({ direction: 'in', via: 'bus', subject: 'x' });
    const entries = log.list();
    expect([entries.length, entries[0]!.id]).to.deep.equal([10_000, 4]);
  });

  it('knows the wildcards of the bus', () => {
    const fits = (pattern: string, subject: string) => matchesSubject(pattern, subject);
    expect(fits('dea.*.start', 'dea.a.start')).to.equal(true);
    expect(fits('dea.>', 'dea.a.start')).to.equal(true);
    expect(fits('>', 'dea')).to.equal(true);
    expect(fits('dea.>', 'dea')).to.equal(false);
    expect(fits('dea.*', 'dea.a.start')).to.equal(false);
    expect(fits('dea.*.start', 'dea.start')).to.equal(false);
  });
});
