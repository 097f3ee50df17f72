import { expect } from 'chai';
import { registryMessageSchema } from '../../../lib/router/messages.js';
import { DialError } from '../../../lib/router/proxy/dial.js';
import { ClientGoneError, DeadlineError, judgeAttempt } from '../../../lib/router/proxy/failures.js';

const { endpoint: plain } = registryMessageSchema.parse({ host: '10.0.0.1', port: 80 });
const { endpoint: encrypted } = registryMessageSchema.parse({ host: '10.0.0.1', tls_port: 443 });

const coded = (code: string, syscall?: string) => Object.assign(new Error(code), { code, ...(syscall && { syscall }) });
const dial = (code: string) => new DialError('connect', coded(code));
const handshake = (code: string) => new DialError('handshake', coded(code));

interface Row {
  what: string;
  error: unknown;
  endpoint?: typeof plain;
  isIdempotent?: boolean;
  isBodyTaken?: boolean;
  expected: [isRepeatable: boolean, effect: string, status: number, reason: string];
}

const rows: Row[] = [
  {
    what: 'a dial that takes too long',
    error: dial('ETIMEDOUT'),
    expected: [true, 'mark', 502, 'dial tcp 10.0.0.1:80: i/o timeout'],
  },
  {
    what: 'a host that cannot be reached',
    error: dial('EHOSTUNREACH'),
    expected: [true, 'mark', 502, 'dial tcp 10.0.0.1:80: connect: no route to host'],
  },
  {
    what: 'a refused connection for TLS',
    error: dial('ECONNREFUSED'),
    endpoint: encrypted,
    expected: [true, 'prune', 502, 'dial tcp 10.0.0.1:443: connect: connection refused'],
  },
  {
    what: 'a handshake that takes too long',
    error: handshake('ETIMEDOUT'),
    endpoint: encrypted,
    expected: [true, 'prune', 502, 'net/http: TLS handshake timeout'],
  },
  {
    what: 'a connection that ends in the handshake',
    error: handshake('ECONNRESET'),
    endpoint: encrypted,
    expected: [true, 'prune', 502, 'EOF'],
  },
  {
    what: 'an expired certificate',
    error: handshake('CERT_HAS_EXPIRED'),
    endpoint: encrypted,
    expected: [true, 'prune', 526, 'CERT_HAS_EXPIRED'],
  },
  {
    what: 'an alert of the handshake that comes late',
    error: coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'),
    endpoint: encrypted,
    expected: [true, 'prune', 496, 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'],
  },
  {
    what: 'an alert of the handshake that comes after parts of the body are gone',
    error: coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'),
    endpoint: encrypted,
    isBodyTaken: true,
    expected: [false, 'prune', 496, 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'],
  },
  {
    what: 'an alert of those who spell the wish for a certificate otherwise',
    error: coded('ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE'),
    endpoint: encrypted,
    expected: [true, 'prune', 496, 'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE'],
  },
  {
    what: 'an encryption that breaks when the app may have seen the request',
    error: coded('ERR_SSL_WRONG_VERSION_NUMBER'),
    endpoint: encrypted,
    expected: [false, 'none', 502, 'tls: first record does not look like a TLS handshake'],
  },
  { what: 'an end without answer', error: coded('ECONNRESET'), expected: [false, 'none', 502, 'EOF'] },
  {
    what: 'an end without answer to what may be repeated',
    error: coded('ECONNRESET'),
    isIdempotent: true,
    expected: [true, 'none', 502, 'EOF'],
  },
  {
    what: 'a reset, whether or not it may be repeated',
    error: coded('ECONNRESET', 'read'),
    isIdempotent: true,
    expected: [false, 'mark', 502, 'read tcp 10.0.0.9:5000->10.0.0.1:80: read: connection reset by peer'],
  },
  {
    what: 'an answer that is no HTTP',
    error: coded('HPE_INVALID_CONSTANT'),
    isIdempotent: true,
    expected: [false, 'none', 502, 'malformed HTTP response'],
  },
  {
    what: 'the end of the total time',
    error: new DeadlineError(),
    isIdempotent: true,
    expected: [false, 'none', 502, 'context deadline exceeded'],
  },
  {
    what: 'a client that left',
    error: new ClientGoneError(),
    isIdempotent: true,
    expected: [false, 'none', 499, 'context canceled'],
  },
];

describe('the router judges', () => {
  for (const { what, error, endpoint = plain, isIdempotent = false, isBodyTaken = false, expected } of rows) {
    const [isRepeatable, effect, status] = expected;
    const consequences = { none: 'nothing', mark: 'to leave out', prune: 'to drop' }[effect];
    it(`${what}: ${status}, ${isRepeatable ? 'again' : 'not again'}, ${consequences}`, () => {
      const fault = judgeAttempt(error, { endpoint, localAddress: '10.0.0.9:5000', isIdempotent, isBodyTaken });
      expect([fault.isRepeatable, fault.effect, fault.failure.status, fault.failure.reason]).to.deep.equal([
        ...expected.slice(0, 3),
        `endpoint_failure (${expected[3]})`,
      ]);
      expect(fault.failure.body).to.match(new RegExp(`^${status} .*\n$`));
    });
  }

  it('without letting foreign text into a header', () => {
    const error = Object.assign(new Error('a\r\nX-Forged: 1 \u{1F4A5}'), { code: 'EWHATEVER' });
    const { failure } = judgeAttempt(error, {
      endpoint: plain,
      localAddress: undefined,
      isIdempotent: false,
      isBodyTaken: false,
    });
    expect(failure.reason).to.match(/^[\x20-\x7e]+$/);
  });
});
