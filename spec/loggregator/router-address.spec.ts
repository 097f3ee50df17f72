import { expect } from 'chai';
import { parseRouterAddress } from '../../lib/loggregator/router-address.js';

describe('the address of a loggregator router', () => {
  it('is a name or an address with a port', () => {
    expect(parseRouterAddress('127.0.0.1:3457')).to.deep.equal({ host: '127.0.0.1', port: 3457 });
    expect(parseRouterAddress('metron.service.cf.internal:1')).to.deep.equal({
      host: 'metron.service.cf.internal',
      port: 1,
    });
    expect(parseRouterAddress('[::1]:65535')).to.deep.equal({ host: '::1', port: 65535 });
  });

  for (const text of ['', 'metron', ':3457', 'metron:0', 'metron:65536', 'a b:1', '::1:3457', 'udp://metron:3457']) {
    it(`is not "${text}"`, () => {
      expect(parseRouterAddress(text)).to.equal(undefined);
    });
  }
});
