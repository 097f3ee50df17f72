import { expect } from 'chai';
import { runIsthmus } from '../../support/cli.js';
import { makeIdentity, type RunningLocket, startLocket, type TestIdentity } from '../../support/locket.js';
import { freeTcpPort } from '../../support/nats.js';

describe('a word of cfdot about locks', () => {
  let identity: TestIdentity;
  let locket: RunningLocket;

  before(async () => {
    identity = makeIdentity();
    locket = await startLocket({ identity });
  });

  after(async () => {
    await locket.stop();
    identity.remove();
  });

  const environment = () => ({
    LOCKET_API_LOCATION: `127.0.0.1:${locket.port}`,
    CA_CERT_FILE: identity.files.caFile,
    CLIENT_CERT_FILE: identity.files.certFile,
    CLIENT_KEY_FILE: identity.files.keyFile,
  });
  const say = (word: string[], options: Parameters<typeof runIsthmus>[2] = {}) =>
    runIsthmus('/nonexistent', ['bbs', ...word], {
      ...options,
      environment: { ...environment(), ...options.environment },
    });
  const silence = { status: 0, out: '', error: '' };

  it('takes, lists and releases locks and presences', async () => {
    expect(await say(['claim-lock', '-k', 'bbs', '-o', 'me', '-v', '<v>', '-t', '60'])).to.deep.equal(silence);
    expect(await say(['claim-presence', '--key', 'c', '--owner', 'c', '--ttl', '1m'])).to.deep.equal(silence);
    const locks = '{"key":"bbs","owner":"me","value":"\\u003cv\\u003e","type":"lock","type_code":1}\n';
    const presences = '{"key":"c","owner":"c","type":"presence","type_code":2}\n';
    expect(await say(['locks'])).to.deep.equal({ ...silence, out: locks });
    expect(await say(['presences'])).to.deep.equal({ ...silence, out: presences });
    const { out } = await say(['locks'], { isOutputTerminal: true });
    expect(out).to.match(/^key +owner +value\nbbs +me +<v>\n$/);
    expect(await say(['release-lock', '-k', 'bbs', '-o', 'me'])).to.deep.equal(silence);
    expect(await say(['release-lock', '-k', 'c', '-o', 'c'])).to.deep.equal(silence);
    expect(await say(['locks'])).to.deep.equal(silence);
  });

  it('tells with status 4 that somebody else has it', async () => {
    await say(['claim-lock', '-k', 'taken', '-o', 'them', '-t', '60']);
    for (const word of [
      ['claim-lock', '-k', 'taken', '-o', 'me', '-t', '60'],
      ['release-lock', '-k', 'taken', '-o', 'me'],
    ]) {
      const { status, out, error } = await say(word);
      expect({ status, out }).to.deep.equal({ status: 4, out: '' });
      expect(error).to.match(/^Error: .*taken.*\n$/);
    }
  });

  it('tells with status 4 that there is no Locket', async () => {
    const { status, error } = await say(['locks', '--timeout', '1'], {
      environment: { LOCKET_API_LOCATION: `127.0.0.1:${await freeTcpPort()}` },
    });
    expect(status).to.equal(4);
    expect(error).to.match(/^Error: Locket: /);
  });

  it('ends with the interrupt of the operator', async () => {
    const interrupt = new AbortController();
    const run = say(['locks'], {
      signal: interrupt.signal,
      environment: { LOCKET_API_LOCATION: `127.0.0.1:${await freeTcpPort()}` },
    });
    setImmediate(() => interrupt.abort());
    expect((await run).status).to.equal(130);
  });

  it('refuses what is missing or no good, with status 3 and its usage', async () => {
    const claim = ['claim-lock', '-k', 'k', '-o', 'o'];
    const mistakes: [string[], NodeJS.ProcessEnv, string][] = [
      [['locks'], { LOCKET_API_LOCATION: '' }, 'no Locket is named; give --locketAPILocation or $LOCKET_API_LOCATION'],
      [['locks'], { LOCKET_API_LOCATION: 'http://a' }, '--locketAPILocation: "http://a" is no host:port'],
      [['locks'], { CLIENT_KEY_FILE: '' }, 'a Locket needs certificates; give --clientKeyFile or $CLIENT_KEY_FILE'],
      [['locks', '--skipCertVerify'], {}, '--skipCertVerify: the certificate of a Locket is always looked at'],
      [claim, {}, "required option '-t, --ttl <time>' not specified"],
      [[...claim, '-t', '0'], {}, "option '-t, --ttl <time>' argument '0' is invalid. ttl must be greater than zero."],
      [['release-lock', '-k', '', '-o', 'o'], {}, "option '-k, --key <key>' argument '' is invalid."],
    ];
    for (const [word, given, message] of mistakes) {
      const { status, out, error } = await say(word, { environment: given });
      expect({ status, out }, message).to.deep.equal({ status: 3, out: '' });
      expect(error.startsWith(`Error: ${message}`), error).to.equal(true);
      expect(error).to.contain('\nUsage: isthmus bbs ');
    }
  });
});
