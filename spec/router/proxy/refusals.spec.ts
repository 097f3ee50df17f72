import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { startHttpServer } from '../../support/http-server.js';
import { RouterRig } from '../../support/router.js';

describe('the router answers itself', function () {
  this.timeout(20_000);
  let rig: RouterRig;
  let directory: string;
  const accessLog = () => readFile(join(directory, 'access.log'), 'utf8');

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'router-'));
    rig = await RouterRig.start({
      max_header_bytes: 64 * 1024,
      empty_pool_response_code_503: true,
      backends: { max_attempts: 3, max_conns: 1 },
      access_log: { file: join(directory, 'access.log') },
    });
  });

  after(async () => {
    await rig.stop();
    await rm(directory, { recursive: true });
  });

  it('404 for a route that it does not know', async () => {
    const { status, headers, body } = await rig.ask('/x', { host: 'No.Such.example.com:80' });
    expect(status).to.equal(404);
    expect(headers).to.include({
      'x-cf-routererror': 'unknown_route',
      'cache-control': 'no-cache, no-store',
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
    });
    expect(headers).not.to.have.property('x-vcap-request-id');
    expect(body).to.equal("404 Not Found: Requested route ('No.Such.example.com:80') does not exist.\n");
  });

  it('400 for an empty host', async () => {
    for (const request of ['GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n', 'GET / HTTP/1.0\r\n\r\n']) {
      const answer = await rig.send(request);
      expect(answer).to.match(/^HTTP\/1\.1 400 Bad Request\r\n/);
      expect(answer).to.match(/X-Cf-RouterError: empty_host\r\n/i);
      expect(answer).to.match(/Cache-Control: public,max-age=2\r\n/i);
      expect(answer).to.match(/\r\n\r\n400 Bad Request: Request had empty Host header\n$/);
    }
  });

  const malformed: [what: string, request: string, answer: string][] = [
    [
      'no host line at all',
      'GET / HTTP/1.1\r\n\r\n',
      'HTTP/1.1 400 Bad Request: missing required Host header\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request: missing required Host header',
    ],
    [
      'a malformed host',
      'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
      'HTTP/1.1 400 Bad Request: malformed Host header\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request: malformed Host header',
    ],
    [
      'two hosts',
      'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
      'HTTP/1.1 400 Bad Request: too many Host headers\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request: too many Host headers',
    ],
    ['an old version', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', 'HTTP/1.0 400 Bad Request\r\n\r\n'],
    ['a version that does not exist', 'GET / HTTP/1.7\r\nHost: a\r\n\r\n', 'HTTP/1.0 400 Bad Request\r\n\r\n'],
  ];
  for (const [what, request, answer] of malformed) {
    it(`400 for ${what}, and closes`, async () => {
      expect(await rig.send(request)).to.equal(answer);
    });
  }

  it('400 for what is no HTTP, or has two lengths', async () => {
    const garbage = [
      '\x16\x03\x01\x02\x00\x01\x00',
      'GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    ];
    garbage.push('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n');
    for (const bytes of garbage) expect(await rig.send(bytes)).to.match(/^HTTP\/1\.1 400 Bad Request/);
  });

  it('431 for headers beyond the limit', async () => {
    const answer = await rig.send(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`);
    expect(answer).to.match(/^HTTP\/1\.1 431 /);
    expect(answer).to.contain('X-Cf-RouterError: max-request-size-exceeded\r\n');
  });

  it('200 for its health, whatever the host, and closes', async () => {
    const answer = await rig.send('GET /any HTTP/1.1\r\nHost: a\r\nUser-Agent: HTTP-Monitor/1.1\r\n\r\n');
    expect(answer).to.match(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).to.contain('Cache-Control: private, max-age=0\r\nExpires: 0\r\nConnection: close\r\n');
    expect(answer).to.match(/ok\n/);
    const other = await rig.send('GET / HTTP/1.0\r\nHost: a\r\nUser-Agent: HTTP-Monitor/1.10\r\n\r\n');
    expect(other).to.match(/^HTTP\/1\.1 404/);
  });

  it('503 for a route that lost its last instance', async () => {
    await rig.register(1, { uris: ['lost.example.com'] });
    await rig.unregister(1, { uris: ['lost.example.com'] });
    const { status, headers, body } = await rig.ask('/', { host: 'lost.example.com' });
    expect([status, headers['x-cf-routererror']]).to.deep.equal([503, 'no_endpoints']);
    expect(body).to.equal(
      "503 Service Unavailable: Requested route ('lost.example.com') has no available endpoints.\n",
    );
  });

  it('503 when every instance has as many requests as it may, and goes on when one is done', async () => {
    const waiting: (() => void)[] = [];
    const app = await startHttpServer((_request, response) => {
      waiting.push(() => response.end('done'));
    });
    try {
      await rig.register(app.port, { uris: ['busy.example.com'] });
      const first = rig.ask('/', { host: 'busy.example.com' });
      await eventually(() => waiting.length || undefined);
      const second = await rig.ask('/', { host: 'busy.example.com' });
      expect([second.status, second.headers['x-cf-routererror']]).to.deep.equal([503, 'Connection Limit Reached']);
      waiting.shift()!();
      expect((await first).body).to.equal('done');
      const third = rig.ask('/', { host: 'busy.example.com' });
      await eventually(() => waiting.length || undefined);
      waiting.shift()!();
      expect((await third).status).to.equal(200);
    } finally {
      await app.stop();
    }
  });

  it('to nobody, and asks no app for those who left while they waited for their turn', async () => {
    const waiting: (() => void)[] = [];
    const app = await startHttpServer((_request, response) => {
      waiting.push(() => response.end('done'));
    });
    try {
      await rig.register(app.port, { uris: ['queue.example.com'] });
      const impatient = rig.connect();
      impatient.write('GET / HTTP/1.1\r\nHost: queue.example.com\r\n\r\n'.repeat(5));
      await eventually(() => waiting.length || undefined);
      impatient.destroy();
      // One at a time is allowed: this is only answered when nothing of those requests is counted any more.
      const answer = await eventually(async () => {
        const asked = rig.ask('/', { host: 'queue.example.com' });
        for (const finish of waiting.splice(0)) finish();
        await eventually(() => waiting.length || undefined, { timeoutMs: 200 }).catch(() => {});
        for (const finish of waiting.splice(0)) finish();
        return (await asked).status === 200 ? true : undefined;
      });
      expect(answer).to.equal(true);
      expect(app.requests.length).to.be.lessThan(5);
    } finally {
      await app.stop();
    }
  });

  it('502 for a route that is bound to a route service', async () => {
    await rig.register(1, { uris: ['service.example.com'], route_service_url: 'https://rs.example.com' });
    const { status, headers } = await rig.ask('/', { host: 'service.example.com' });
    expect([status, headers['x-cf-routererror']]).to.deep.equal([502, 'route_service_unsupported']);
  });

  it('and tells each request in the access log', async () => {
    const app = await startHttpServer((_request, response) => void response.end('12345'));
    try {
      await rig.register(app.port, { uris: ['log.example.com'], app: 'guid', private_instance_index: '1' });
      await rig.ask('/a?b=c', {
        host: 'log.example.com',
        method: 'POST',
        body: 'abc',
        headers: { 'User-Agent': 'spec', Referer: 'http://r' },
      });
      await rig.ask('/none', { host: 'missing.example.com' });
      const line = await eventually(async () => {
        const lines = (await accessLog()).split('\n');
        return lines.some((each) => each.startsWith('missing.'))
          ? lines.find((each) => each.startsWith('log.'))
          : undefined;
      });
      expect(line).to.match(
        new RegExp(
          [
            '^log\\.example\\.com - \\[\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}Z\\] "POST /a\\?b=c HTTP/1\\.1" 200 3 5',
            `"http://r" "spec" "127\\.0\\.0\\.1:\\d+" "127\\.0\\.0\\.1:${app.port}" x_forwarded_for:"127\\.0\\.0\\.1"`,
            'x_forwarded_proto:"http" vcap_request_id:"[\\da-f-]{36}" response_time:0\\.\\d{6} gorouter_time:0\\.\\d{6}',
            'app_id:"guid" app_index:"1" instance_id:"-" x_cf_routererror:"-"$',
          ].join(' '),
        ),
      );
      const refused = (await accessLog()).split('\n').find((each) => each.startsWith('missing.'));
      expect(refused).to.match(/ 404 0 \d+ .*x_cf_routererror:"unknown_route"$/);
    } finally {
      await app.stop();
    }
  });
});
