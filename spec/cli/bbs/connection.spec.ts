import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { CellPresence } from '../../../lib/bbs/messages/models.js';
import { type BbsWords, startBbsWords } from '../../support/bbs-words.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { runIsthmus } from '../../support/cli.js';
import { type HttpServer, refusingUrl, startHttpServer } from '../../support/http-server.js';
import { PlayedBbs } from '../../support/played-bbs.js';

describe('a word of cfdot, connecting', () => {
  let words: BbsWords;
  let authority: CertificateAuthority;
  let own: Certificate;
  let server: Certificate;
  let secure: PlayedBbs;

  before(async () => {
    words = await startBbsWords();
    authority = CertificateAuthority.create();
    own = authority.issue({ commonName: 'operator' });
    server = authority.issue({ alternativeNames: 'IP:127.0.0.1' });
    secure = await PlayedBbs.start({ own: server, authorityCert: authority.cert });
    secure.answers.Domains = () => ({ domains: ['secure'] });
  });

  beforeEach(() => {
    words.bbs.answers.Domains = () => ({ domains: ['plain'] });
  });

  afterEach(() => words.bbs.reset());

  after(async () => {
    await secure.stop();
    await words.stop();
    authority.remove();
  });

  const run = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
    runIsthmus(words.directory, ['bbs', ...args], { environment, directory: words.directory });
  const environment = () => ({
    BBS_URL: secure.url,
    CA_CERT_FILE: authority.certFile,
    CLIENT_CERT_FILE: own.certFile,
    CLIENT_KEY_FILE: own.keyFile,
  });
  const without = (name: string) =>
    Object.fromEntries(Object.entries(environment()).filter(([candidate]) => candidate !== name));

  it('takes flags before and behind the word, which go before the environment', async () => {
    const flags = [
      '--caCertFile',
      authority.certFile,
      '--clientCertFile',
      own.certFile,
      '--clientKeyFile',
      own.keyFile,
    ];
    for (const args of [
      ['--bbsURL', secure.url, ...flags, 'domains'],
      ['domains', '--bbsURL', secure.url, ...flags],
      ['--bbsURL', secure.url, 'domains', ...flags],
    ]) {
      expect(await run(args, { BBS_URL: 'http://nowhere.invalid', CA_CERT_FILE: '/nowhere' })).to.deep.equal({
        status: 0,
        out: '"secure"\n',
        error: '',
      });
    }
  });

  it('takes the environment', async () => {
    expect(await run(['domains'], environment())).to.include({ status: 0, out: '"secure"\n' });
    const skipping = { ...without('CA_CERT_FILE'), SKIP_CERT_VERIFY: 'T' };
    expect(await run(['domains'], skipping)).to.include({ status: 0, out: '"secure"\n' });
    expect(await run(['domains', '--skipCertVerify'], without('CA_CERT_FILE'))).to.include({ status: 0 });
  });

  it('refuses what is missing or no good, names it, and shows its usage', async () => {
    await writeFile(join(words.directory, 'none.pem'), 'none');
    const mistakes: [NodeJS.ProcessEnv, string][] = [
      [{}, 'no BBS is named; give --bbsURL or $BBS_URL'],
      [{ BBS_URL: 'tcp://a:secret@b' }, '--bbsURL: "tcp://b" is no https or http URL'],
      [{ BBS_URL: 'b' }, '--bbsURL: "b" is no https or http URL'],
      [
        without('CA_CERT_FILE'),
        'an https URL needs certificates, unless --skipCertVerify is given; give --caCertFile or $CA_CERT_FILE',
      ],
      [without('CLIENT_CERT_FILE'), 'an https URL needs certificates; give --clientCertFile or $CLIENT_CERT_FILE'],
      [without('CLIENT_KEY_FILE'), 'an https URL needs certificates; give --clientKeyFile or $CLIENT_KEY_FILE'],
      [{ ...environment(), CLIENT_KEY_FILE: 'gone' }, '--clientKeyFile: ENOENT: no such file or directory'],
      [{ ...environment(), CLIENT_CERT_FILE: 'none.pem' }, 'tls: the certificates or the key cannot be used: '],
      [{ ...environment(), SKIP_CERT_VERIFY: 'yes' }, '$SKIP_CERT_VERIFY: "yes" is neither true nor false'],
      [{ ...environment(), CFDOT_TIMEOUT: '1m' }, '--timeout or $CFDOT_TIMEOUT: "1m" is no whole number of seconds'],
    ];
    for (const [given, message] of mistakes) {
      const { status, out, error } = await run(['domains'], given);
      expect({ status, out }, message).to.deep.equal({ status: 3, out: '' });
      expect(error.startsWith(`Error: ${message}`), error).to.equal(true);
      expect(error).to.contain('\nUsage: isthmus bbs domains [options]\n');
    }
  });

  it('tells with status 5 that there is no BBS, or not this one', async () => {
    const url = await refusingUrl();
    const { status, error } = await run(['domains'], { BBS_URL: url });
    expect(status).to.equal(5);
    expect(error).to.match(new RegExp(`^Error: ${url}: connect ECONNREFUSED [^\n]*\n$`));
    const strangers = CertificateAuthority.create();
    try {
      const refused = await run(['domains'], { ...environment(), CA_CERT_FILE: strangers.certFile });
      expect(refused.status).to.equal(5);
      expect(refused.error).to.contain(`Error: ${secure.url}: `).and.contain('certificate');
    } finally {
      strangers.remove();
    }
  });

  it('tells with status 4 that the BBS took too long', async () => {
    words.bbs.rawAnswers['/v1/domains/list'] = () => {};
    const { status, error } = await words.say(['--timeout', '1', 'domains']);
    expect(status).to.equal(4);
    expect(error).to.equal(
      `Error: BBS error\nType 31: Timeout\nMessage: Timeout exceeded: ${words.bbs.url} did not answer POST /v1/domains/list within 1000 ms\n`,
    );
    expect(words.bbs.requests).to.have.length(1);
    expect((await words.say(['domains'], { environment: { CFDOT_TIMEOUT: '-1' } })).status).to.equal(3);
  });

  describe('to reps', () => {
    /** As a Go rep writes it. */
    const state =
      '{"rep_url":"https://rep","cell_id":"a","cell_index":0,"RootFSProviders":{},"AvailableResources":{"MemoryMB":512,"DiskMB":1024,"Containers":9},"TotalResources":{"MemoryMB":1024,"DiskMB":2048,"Containers":10},"LRPs":[{"x":12345678901234567890}],"Tasks":null,"StartingContainerCount":0,"Zone":"z1","Evacuating":true,"VolumeDrivers":null,"PlacementTags":null,"OptionalPlacementTags":null,"ProxyMemoryAllocationMB":0}';
    let good: HttpServer;
    let bad: HttpServer;
    const presence = (cellId: string, repUrl: string) => CellPresence.create({ cellId, repUrl });

    before(async () => {
      good = await startHttpServer((request, response) => {
        requestIds.push(String(request.headers['x-vcap-request-id']));
        response.end(`${state}\n`);
      });
      bad = await startHttpServer((_request, response) => void response.writeHead(503).end());
    });

    const requestIds: string[] = [];

    beforeEach(() => {
      const cells = [presence('a', good.url), presence('bad', bad.url), presence('none', 'nonsense')];
      cells.push(CellPresence.create({ cellId: 'old', repAddress: good.url }));
      words.bbs.answers.Cells = () => ({ cells });
    });

    after(async () => {
      await good.stop();
      await bad.stop();
    });

    it('prints what the one of a cell says, as it says it', async () => {
      for (const id of ['a', 'old']) {
        expect(await words.say(['cell-state', id])).to.deep.equal({ status: 0, out: `${state}\n`, error: '' });
      }
      expect(requestIds[0]).to.equal(words.bbs.requests[0]!.headers['x-vcap-request-id']);
      expect(good.requests).to.deep.equal(['GET /state', 'GET /state']);
      const { out } = await words.say(['cell-state', 'a'], { isOutputTerminal: true });
      expect(out).to.match(/^rep_url: +https:\/\/rep\ncell_id: +a\n/);
    });

    it('tells that it does not answer, with status 4', async () => {
      const failure = 'Error: Rep error: Failed to get cell state for cell';
      expect(await words.say(['cell-state', 'bad'])).to.deep.equal({
        status: 4,
        out: '',
        error: `${failure} bad: http error: status code 503 (Service Unavailable)\n`,
      });
      expect((await words.say(['cell-state', 'none'])).error).to.equal(
        `${failure} none: "nonsense" is no http or https URL\n`,
      );
      expect(await words.say(['cell-state', 'x'])).to.deep.equal({
        status: 5,
        out: '',
        error: 'Error: Cell not found\n',
      });
    });

    it('asks all of them, and tells at the end which did not answer', async () => {
      expect(await words.say(['cell-states'])).to.deep.equal({
        status: 4,
        out: `${state}\n${state}\n`,
        error:
          'Error: Rep error: Failed to get cell state for cell bad: http error: status code 503 (Service Unavailable)\n' +
          'Rep error: Failed to get cell state for cell none: "nonsense" is no http or https URL\n',
      });
    });

    it('shows a person a table of them', async () => {
      words.bbs.answers.Cells = () => ({ cells: [presence('a', good.url)] });
      const { status, out } = await words.say(['cell-states'], { isOutputTerminal: true });
      expect(status).to.equal(0);
      expect(out.split('\n')[1]).to.match(/^a +z1 +512M of 1G free +1G of 2G free +9 of 10 free +1 +0 +evacuating$/);
    });

    it('tells in one line that the BBS does not say who they are', async () => {
      words.bbs.answers = {};
      expect(await words.say(['cell-states'])).to.deep.equal({
        status: 4,
        out: '',
        error: 'Error: BBS error: Failed to get cell registrations from BBS: Invalid Response with status code: 404\n',
      });
    });

    it('shows them the certificate that the BBS is shown', async () => {
      const tls = { key: server.key, cert: server.cert, ca: authority.cert, requestCert: true };
      const rep = createServer(tls, (_request, response) => void response.end('{"a": 1}')).listen(0, '127.0.0.1');
      await once(rep, 'listening');
      const { port } = rep.address() as AddressInfo;
      secure.answers.Cells = () => ({ cells: [presence('a', `https://127.0.0.1:${port}`)] });
      try {
        expect(await run(['cell-state', 'a'], environment())).to.deep.equal({ status: 0, out: '{"a":1}\n', error: '' });
      } finally {
        rep.close();
        rep.closeAllConnections();
      }
    });
  });
});
