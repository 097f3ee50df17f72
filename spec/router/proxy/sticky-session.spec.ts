import { expect } from 'chai';
import { registryMessageSchema } from '../../../lib/router/messages.js';
import { stickyCookieFor, stickyInstanceId } from '../../../lib/router/proxy/sticky-session.js';

const { endpoint } = registryMessageSchema.parse({ host: 'h', port: 1, private_instance_id: 'inst-1' });
const names = { sessionCookieNames: ['JSESSIONID', 'session'], isAlwaysSecure: false };

describe('sticky sessions', () => {
  it('belong to the named instance when the client has a session cookie, too', () => {
    expect(stickyInstanceId('JSESSIONID=a; __VCAP_ID__=inst-1', names.sessionCookieNames)).to.equal('inst-1');
    expect(stickyInstanceId('session=a;__VCAP_ID__=inst-1', names.sessionCookieNames)).to.equal('inst-1');
    expect(stickyInstanceId('__VCAP_ID__=inst-1', names.sessionCookieNames)).to.equal(undefined);
    expect(stickyInstanceId('JSESSIONID=a', names.sessionCookieNames)).to.equal(undefined);
    expect(stickyInstanceId(undefined, names.sessionCookieNames)).to.equal(undefined);
  });

  const cases: [what: string, setCookies: string[], asked: string | undefined, cookie: string | undefined][] = [
    ['the app sets none', [], undefined, undefined],
    ['the app sets another cookie', ['a=b'], undefined, undefined],
    ['the app sets a session', ['JSESSIONID=x'], undefined, '__VCAP_ID__=inst-1; Path=/shop; HttpOnly'],
    [
      'the session is secure',
      ['JSESSIONID=x; Path=/; SameSite=Strict; Secure'],
      undefined,
      '__VCAP_ID__=inst-1; Path=/shop; HttpOnly; Secure; SameSite=Strict',
    ],
    [
      'the session expires',
      ['session=x; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Partitioned'],
      undefined,
      '__VCAP_ID__=inst-1; Path=/shop; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; Partitioned',
    ],
    ['the session ends', ['JSESSIONID=; Max-Age=-1'], 'inst-1', '__VCAP_ID__=inst-1; Path=/shop; Max-Age=0; HttpOnly'],
    ['the session has an age', ['JSESSIONID=x; Max-Age=60'], undefined, '__VCAP_ID__=inst-1; Path=/shop; HttpOnly'],
    ['the client stays', [], 'inst-1', undefined],
    ['the client had to move', [], 'inst-0', '__VCAP_ID__=inst-1; Path=/shop; HttpOnly'],
    ['the app sets the cookie itself', ['JSESSIONID=x', '__VCAP_ID__=mine'], undefined, undefined],
  ];
  for (const [what, setCookies, asked, cookie] of cases) {
    it(`are ${cookie ? '' : 'not '}bound when ${what}`, () => {
      expect(stickyCookieFor(setCookies, asked, endpoint, '/shop', names)).to.equal(cookie);
    });
  }

  it('are not bound to an instance without id', () => {
    expect(stickyCookieFor(['JSESSIONID=x'], undefined, { ...endpoint, instanceId: '' }, '/', names)).to.equal(
      undefined,
    );
  });

  it('are secure when the router is told so', () => {
    expect(stickyCookieFor(['JSESSIONID=x'], undefined, endpoint, '/', { ...names, isAlwaysSecure: true })).to.contain(
      'HttpOnly; Secure',
    );
  });
});
