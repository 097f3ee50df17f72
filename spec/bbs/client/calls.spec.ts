import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import { BbsClient, type BbsClientOptions } from '../../../lib/bbs/client/bbs-client.js';
import {
  ApplicationError,
  EndpointNotFound,
  InvalidResponse,
  PeerTimeout,
  PeerUnreachable,
  RouterError,
  UndecodableResponse,
} from '../../../lib/bbs/client/errors.js';
import { resourceNotFound } from '../../../lib/bbs/errors.js';
import { encode } from '../../../lib/bbs/messages/codec.js';
import {
  ActualLRP,
  ActualLRPInternalRoute,
  ActualLRPKey,
  ActualLRPNetInfo,
  ErrorType,
  EvacuationResponse,
  StartActualLRPRequest,
} from '../../../lib/bbs/messages/models.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { eventually } from '../../support/eventually.js';
import { refusingUrl } from '../../support/http-server.js';
import { PlayedBbs, type RawAnswer } from '../../support/played-bbs.js';
import { rejectionOf } from '../../support/rejection.js';

const protobuf = { 'Content-Type': 'application/x-protobuf' };

describe('a client of the bulletin board', () => {
  let bbs: PlayedBbs;
  let client: BbsClient;
  const others: BbsClient[] = [];

  before(async () => {
    bbs = await PlayedBbs.start();
    client = BbsClient.create({ url: bbs.url, attemptPauseMs: 1 });
  });

  afterEach(() => {
    bbs.reset();
    for (const other of others.splice(0)) other.stop();
  });

  after(async () => {
    client.stop();
    await bbs.stop();
  });

  /** Another one, which the spec need not stop. */
  function clientWith(options: Partial<BbsClientOptions>): BbsClient {
    const other = BbsClient.create({ url: bbs.url, attemptPauseMs: 1, ...options });
    others.push(other);
    return other;
  }

  /** Answers the calls of a route one by one; the last one for all that follow. */
  function answerInTurn(path: string, ...answers: RawAnswer[]): void {
    bbs.rawAnswers[path] = (request, response) => {
      (answers.length > 1 ? answers.shift()! : answers[0]!)(request, response);
    };
  }

  const status =
    (code: number, headers = {}, body: string | Buffer = ''): RawAnswer =>
    (_request, response) =>
      void response.writeHead(code, headers).end(body);
  const cut: RawAnswer = (_request, response) => void response.socket!.destroy();
  const silence: RawAnswer = () => {};

  it('sends the message and gives that of the response', async () => {
    const actualLrps = [ActualLRP.create({ state: 'RUNNING', since: 1_700_000_000_000_000_000n })];
    bbs.answers.ActualLRPs = () => ({ actualLrps });
    const response = await client.call('ActualLRPs', { domain: 'd', index: 0 }, { requestId: 'r-1' });
    expect(response.actualLrps).to.deep.equal(actualLrps);
    const [{ method, path, headers, message }] = bbs.requests as [(typeof bbs.requests)[0]];
    expect([method, path]).to.deep.equal(['POST', '/v1/actual_lrps/list']);
    expect(message).to.include({ domain: 'd', cellId: '', index: 0 });
    expect(headers).to.include({ 'content-type': 'application/x-protobuf', 'x-vcap-request-id': 'r-1' });
    expect(headers['content-length']).to.equal('5');
  });

  it('sends an empty body where it does not matter, and takes an empty one for a success', async () => {
    bbs.answers.Cells = () => ({});
    expect((await client.call('Cells')).cells).to.deep.equal([]);
    expect(bbs.requests[0]!.headers).to.include({ 'content-length': '0', 'x-vcap-request-id': '' });
  });

  it('keeps its connections', async () => {
    bbs.answers.Ping = () => ({ available: true });
    const other = clientWith({});
    const before = bbs.connections;
    for (const _time of [1, 2, 3]) expect((await other.call('Ping')).available).to.equal(true);
    expect(bbs.connections).to.equal(before + 1);
    other.stop();
    await eventually(() => (bbs.connections === before ? true : undefined));
  });

  it('replaces what is no text, as a BBS of Go cuts characters', async () => {
    answerInTurn('/v1/domains/list', status(200, protobuf, Buffer.from('1203e298c3', 'hex')));
    expect((await client.call('Domains')).domains).to.deep.equal(['\ufffd\ufffd']);
  });

  it("knows the BBS's refusal by type and message, and has the response; it never asks again", async () => {
    bbs.answers.EvacuateCrashedActualLRP = () => ({ error: resourceNotFound, keepContainer: true });
    const error = await rejectionOf(client.call('EvacuateCrashedActualLRP'));
    expect(error).to.be.instanceOf(ApplicationError);
    expect(error).to.include({
      type: ErrorType.ResourceNotFound,
      message: 'the requested resource could not be found',
    });
    expect((error as ApplicationError).response).to.deep.include({ keepContainer: true });
    expect(bbs.requests).to.have.length(1);
  });

  it('believes a message whatever its status', async () => {
    const body = encode(EvacuationResponse, { error: resourceNotFound, keepContainer: false });
    answerInTurn(
      '/v1/actual_lrps/evacuate_stopped',
      status(503, { 'Content-Type': 'Application/X-Protobuf;a=b' }, body),
    );
    expect(await rejectionOf(client.call('EvacuateStoppedActualLRP'))).to.be.instanceOf(ApplicationError);
  });

  it('tries again after failures that may pass', async () => {
    const failures = [
      status(500),
      status(503),
      cut,
      status(200, protobuf, '\xff'),
      status(502, { 'X-Cf-RouterError': 'x' }),
    ];
    for (const failure of failures) {
      answerInTurn('/v1/ping', failure, failure, status(200, protobuf, Buffer.from('0801', 'hex')));
      bbs.requests.length = 0;
      expect((await client.call('Ping')).available).to.equal(true);
      expect(bbs.requests).to.have.length(3);
    }
  });

  it('tells the last failure when it has tried often enough', async () => {
    answerInTurn('/v1/ping', cut, status(500), status(503));
    const error = await rejectionOf(client.call('Ping'));
    expect(error).to.be.instanceOf(InvalidResponse).and.include({ status: 503, type: ErrorType.InvalidResponse });
    expect(error.message).to.equal('Invalid Response with status code: 503');
    expect(bbs.requests).to.have.length(3);
    bbs.requests.length = 0;
    await rejectionOf(clientWith({ attempts: 1 }).call('Ping'));
    expect(bbs.requests).to.have.length(1);
  });

  it('tells a router from a BBS', async () => {
    answerInTurn('/v1/ping', status(404, { 'X-Cf-RouterError': 'unknown_route' }));
    const error = await rejectionOf(client.call('Ping'));
    expect(error).to.be.instanceOf(RouterError).and.include({ message: 'unknown_route', type: ErrorType.RouterError });
  });

  it('takes no answer of another kind for an empty list', async () => {
    answerInTurn('/v1/tasks/list.r3', status(200, { 'Content-Type': 'text/html' }, '<html>'));
    const error = await rejectionOf(client.call('Tasks'));
    expect(error).to.be.instanceOf(InvalidResponse);
    expect(error.message).to.equal('Invalid Response without the content type application/x-protobuf');
  });

  it('tells what is wrong with a message that it cannot read', async () => {
    answerInTurn('/v1/tasks/list.r3', status(200, protobuf, '\x0a\x7f'));
    const error = await rejectionOf(client.call('Tasks'));
    expect(error).to.be.instanceOf(UndecodableResponse).and.include({ type: ErrorType.InvalidProtobufMessage });
    expect(error.message).to.match(/^not a TasksResponse: /);
  });

  it('gives up a BBS that does not answer in time, before its headers or within its body', async () => {
    const begins: RawAnswer = (_request, response) =>
      void response.writeHead(200, { ...protobuf, 'Content-Length': 9 }).write('x');
    for (const answer of [silence, begins]) {
      answerInTurn('/v1/ping', answer);
      const error = await rejectionOf(clientWith({ timeoutMs: 30, attempts: 2 }).call('Ping'));
      expect(error).to.be.instanceOf(PeerTimeout).and.include({ type: ErrorType.Timeout });
      expect(error.message).to.equal(`Timeout exceeded: ${bbs.url} did not answer POST /v1/ping within 30 ms`);
    }
    expect(bbs.requests).to.have.length(4);
  });

  it('gives up an answer that is larger than it may be', async () => {
    answerInTurn('/v1/ping', status(200, protobuf, Buffer.alloc(200_000)));
    const error = await rejectionOf(clientWith({ maximumResponseBytes: 1000, attempts: 1 }).call('Ping'));
    expect(error.message).to.equal(`the answer of ${bbs.url} has more than 1000 bytes`);
  });

  it('names the BBS that it cannot reach', async () => {
    const url = await refusingUrl();
    const error = await rejectionOf(clientWith({ url }).call('Ping'));
    expect(error).to.be.instanceOf(PeerUnreachable);
    expect(error.message).to.contain(`${url}: connect ECONNREFUSED`);
  });

  it('ends when it is told to, whatever it waits for', async () => {
    answerInTurn('/v1/ping', silence);
    const giving = new AbortController();
    const call = rejectionOf(client.call('Ping', {}, { signal: giving.signal }));
    await eventually(() => bbs.requests[0]);
    giving.abort(new Error('enough'));
    expect((await call).message).to.equal('enough');
    expect((await rejectionOf(client.call('Ping', {}, { signal: giving.signal }))).message).to.equal('enough');

    answerInTurn('/v1/ping', status(500));
    const patient = clientWith({ attemptPauseMs: 3_600_000 });
    const pausing = rejectionOf(patient.call('Ping'));
    await eventually(() => bbs.requests[1]);
    patient.stop();
    expect((await pausing).message).to.match(/is stopped$/);
    expect((await rejectionOf(patient.call('Ping'))).message).to.match(/is stopped$/);
    patient.stop();
  });

  it('refuses what no header can hold, and asks nothing', async () => {
    const error = await rejectionOf(client.call('Ping', {}, { requestId: 'a\r\nb' }));
    expect(error.message).to.contain('X-Vcap-Request-Id');
    expect(bbs.requests).to.deep.equal([]);
  });

  it('refuses an address that is none, without what is secret in it', () => {
    expect(() => BbsClient.create({ url: 'ftp://a:secret@b' })).to.throw(/^"ftp:\/\/b" is no http or https URL$/);
    expect(() => BbsClient.create({ url: 'https://b', tls: { cert: 'x', key: 'y' } })).to.throw(
      /^tls: the certificates or the key cannot be used: /,
    );
  });

  it('puts its paths behind that of the address', async () => {
    answerInTurn('/bbs/v1/ping', status(200, protobuf));
    expect((await clientWith({ url: `${bbs.url}/bbs/` }).call('Ping')).available).to.equal(false);
  });

  describe('of a board that is too old for a route', () => {
    const request = StartActualLRPRequest.create({
      actualLrpKey: ActualLRPKey.create({ processGuid: 'p', domain: 'd' }),
      actualLrpNetInfo: ActualLRPNetInfo.create({ address: 'a' }),
      actualLrpInternalRoutes: [ActualLRPInternalRoute.create({ hostname: 'h' })],
      metricTags: new Map([['a', 'b']]),
      routable: true,
      availabilityZone: 'z',
    });

    it('says it by the older one, without what that does not know', async () => {
      bbs.answers.StartActualLRP_r0 = () => ({});
      bbs.answers.EvacuateRunningActualLRP_r0 = () => ({ keepContainer: true });
      await client.call('StartActualLRP', request);
      expect((await client.call('EvacuateRunningActualLRP', request)).keepContainer).to.equal(true);
      expect(bbs.requests.map(({ path }) => path)).to.deep.equal([
        '/v1/actual_lrps/start.r1',
        '/v1/actual_lrps/start',
        '/v1/actual_lrps/evacuate_running.r1',
        '/v1/actual_lrps/evacuate_running',
      ]);
      const { actualLrpKey, actualLrpNetInfo } = request;
      for (const { message } of [bbs.requests[1]!, bbs.requests[3]!]) {
        expect(message).to.deep.include({ actualLrpKey, actualLrpNetInfo, availabilityZone: '', routable: undefined });
        expect(message).to.deep.include({ actualLrpInternalRoutes: [], metricTags: new Map() });
      }
    });

    it('asks for whole LRPs where there are no routing infos', async () => {
      bbs.answers.DesiredLRPs = () => ({});
      await client.call('DesiredLRPRoutingInfos', { processGuids: ['p'] });
      expect(bbs.requests[1]).to.deep.include({ path: '/v1/desired_lrps/list.r3' });
      expect(bbs.requests[1]!.message).to.deep.include({ processGuids: ['p'] });
    });

    it('tells that there is none, after one attempt', async () => {
      const error = await rejectionOf(client.call('FailTask'));
      expect(error).to.be.instanceOf(EndpointNotFound).and.include({ type: ErrorType.InvalidResponse, status: 404 });
      expect(bbs.requests).to.have.length(1);
    });
  });
});

describe('a client of the bulletin board, with mutual TLS', () => {
  let authority: CertificateAuthority;
  let strangers: CertificateAuthority;
  let own: Certificate;
  let bbs: PlayedBbs;
  const clients: BbsClient[] = [];

  before(async () => {
    authority = CertificateAuthority.create();
    strangers = CertificateAuthority.create();
    own = authority.issue({ commonName: 'bbs client' });
    bbs = await PlayedBbs.start({
      own: authority.issue({ commonName: 'bbs', alternativeNames: 'IP:127.0.0.1' }),
      authorityCert: authority.cert,
    });
    bbs.answers.Ping = () => ({ available: true });
  });

  after(async () => {
    for (const client of clients) client.stop();
    await bbs.stop();
    authority.remove();
    strangers.remove();
  });

  function clientWith(tls: BbsClientOptions['tls'], url = bbs.url): BbsClient {
    const client = BbsClient.create({ url, attempts: 1, streamRetryIntervalMs: 1, ...(tls && { tls }) });
    clients.push(client);
    return client;
  }

  const failure = async (client: BbsClient) => {
    const error = await rejectionOf(client.call('Ping'));
    expect(error).to.be.instanceOf(PeerUnreachable);
    const stream = await rejectionOf(client.subscribe('TaskEventStream'));
    expect(stream, 'of the stream').to.be.instanceOf(PeerUnreachable);
    return error.message;
  };

  it('shows its certificate and trusts that of the authority', async () => {
    const client = clientWith({ ca: readFileSync(authority.certFile), cert: own.cert, key: own.key });
    expect((await client.call('Ping')).available).to.equal(true);
    const subscription = await client.subscribe('TaskEventStream');
    (await bbs.stream(0)).end();
    for await (const _event of subscription) throw new Error('an event');
  });

  it('trusts nobody else, unless it is to trust anybody', async () => {
    const { cert, key } = own;
    expect(await failure(clientWith({ ca: strangers.cert, cert, key }))).to.contain('self-signed certificate');
    expect((await clientWith({ cert, key, skipCertVerify: true }).call('Ping')).available).to.equal(true);
  });

  it('trusts no certificate of another host', async () => {
    const { cert, key } = own;
    const elsewhere = bbs.url.replace('127.0.0.1', 'localhost');
    expect(await failure(clientWith({ ca: authority.cert, cert, key }, elsewhere))).to.contain('localhost');
  });

  it('tells when its own certificate is not taken', async () => {
    const { cert, key } = strangers.issue();
    await failure(clientWith({ ca: authority.cert, cert, key }));
    await failure(clientWith({ ca: authority.cert } as BbsClientOptions['tls']));
  });

  it('gives up a handshake that is not answered', async () => {
    const sockets: Socket[] = [];
    const mute = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const url = `https://127.0.0.1:${(mute.address() as AddressInfo).port}`;
    const tls = { ca: authority.cert, ...own };
    const client = BbsClient.create({ url, tls, attempts: 1, streamRetries: 0, connectTimeoutMs: 30 });
    clients.push(client);
    for (const asking of [client.call('Ping'), client.subscribe('TaskEventStream')]) {
      const error = await rejectionOf(asking);
      expect(error).to.be.instanceOf(PeerTimeout);
      expect(error.message).to.equal(`Timeout exceeded: no connection to ${url} within 30 ms`);
    }
    for (const socket of sockets) socket.destroy();
    mute.close();
  });

  it('tells when the BBS speaks HTTP, or it should itself', async () => {
    const plain = await PlayedBbs.start();
    try {
      await failure(clientWith({ ca: authority.cert, ...own }, plain.url.replace('http:', 'https:')));
      await failure(clientWith(undefined, bbs.url.replace('https:', 'http:')));
    } finally {
      await plain.stop();
    }
  });
});
