import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { bodyOf, type HttpServer, startHttpServer } from '../../support/http-server.js';
import { type RawBackend, RouterRig, startRawBackend } from '../../support/router.js';

const guid = 'f7a1a6f0-4f0f-4f7e-9a7c-0d7f3c1a2b34';
const uuidPattern = /^[\da-f]{8}-([\da-f]{4}-){3}[\da-f]{12}$/;

/** What an app saw of a request. */
function headOf(raw: string): { line: string; headers: [name: string, value: string][]; rest: string } {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const [line = '', ...lines] = head.split('\r\n');
  const headers = lines.map((each): [string, string] => {
    const position = each.indexOf(': ');
    return position < 0 ? [each.replace(/:$/, ''), ''] : [each.slice(0, position), each.slice(position + 2)];
  });
  return { line, headers, rest: rest.join('\r\n\r\n') };
}

describe('the router forwards requests', function () {
  this.timeout(20_000);
  let rig: RouterRig;
  const backends: (HttpServer | RawBackend)[] = [];

  async function backend(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<HttpServer> {
    const server = await startHttpServer(handler);
    backends.push(server);
    return server;
  }

  async function rawBackend(answer: string): Promise<RawBackend> {
    const server = await startRawBackend((socket) => socket.end(answer, 'latin1'));
    backends.push(server);
    return server;
  }

  before(async () => {
    rig = await RouterRig.start({ trace_key: 'open sesame' });
  });

  after(async () => {
    await rig.stop();
  });

  afterEach(async () => {
    const uris = Object.keys(await rig.routes());
    for (const { port } of backends) rig.peer.publish('router.unregister', { host: '127.0.0.1', port, uris });
    await eventually(async () => Object.keys(await rig.routes()).length === 0 || undefined);
    await Promise.all(backends.splice(0).map((each) => each.stop()));
  });

  describe('to the app', () => {
    const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

    it('byte for byte in target, and in the headers that are the client’s', async () => {
      const app = await rawBackend(answer);
      await rig.register(app.port);
      const target = '/a//b/../%2e%2E/%zz;x?q=%20+&&=#no';
      await rig.send(
        `GET ${target} HTTP/1.1\r\nhOsT: App.Example.com:81\r\nX-Two: 1\r\nx-two: 2\r\nX-Bytes: \xe4\r\nCookie: a=b\r\n` +
          'TE: trailers\r\nKeep-Alive: 5\r\nX-Private: x\r\nConnection: close, x-private\r\n\r\n',
      );
      const { line, headers } = headOf(app.received[0]!);
      expect(line).to.equal(`GET ${target} HTTP/1.1`);
      expect(headers.slice(0, 5)).to.deep.equal([
        ['Host', 'App.Example.com:81'],
        ['X-Two', '1'],
        ['x-two', '2'],
        ['X-Bytes', '\xe4'],
        ['Cookie', 'a=b'],
      ]);
      const names = headers.map(([name]) => name.toLowerCase());
      expect(names).not.to.include.members(['te', 'keep-alive', 'x-private']);
      expect(headers.filter(([name]) => name === 'Connection')).to.deep.equal([['Connection', 'close']]);
    });

    it('with what the app is to know of the route and the client', async () => {
      const app = await rawBackend(answer);
      await rig.register(app.port, { app: guid, private_instance_id: 'inst-1', private_instance_index: '3' });
      const { headers: answered } = await rig.ask('/', {
        headers: {
          'x-vcap-request-id': 'forged',
          'X-CF-InstanceID': 'forged',
          'X-Forwarded-For': '1.2.3.4',
          'X-Forwarded-Proto': 'https',
          'X-Request-Start': '17',
        },
      });
      const { headers } = headOf(app.received[0]!);
      const seen = Object.fromEntries(headers);
      expect(seen).to.include({
        'X-CF-ApplicationID': guid,
        'X-CF-InstanceIndex': '3',
        'X-CF-InstanceID': 'inst-1',
        'X-Forwarded-For': '1.2.3.4, 127.0.0.1',
        'X-Forwarded-Proto': 'https',
        'X-Request-Start': '17',
      });
      expect(seen['X-Vcap-Request-Id']).to.match(uuidPattern);
      expect(answered['x-vcap-request-id']).to.equal(seen['X-Vcap-Request-Id']);
      expect(app.received[0]).not.to.contain('forged');
    });

    it('with empty values for what the registration did not tell', async () => {
      const app = await rawBackend(answer);
      await rig.register(app.port);
      const before = Date.now();
      await rig.ask('/');
      const seen = Object.fromEntries(headOf(app.received[0]!).headers);
      expect(seen).to.include({
        'X-CF-ApplicationID': '',
        'X-CF-InstanceIndex': '',
        'X-CF-InstanceID': `127.0.0.1:${app.port}`,
        'X-Forwarded-For': '127.0.0.1',
        'X-Forwarded-Proto': 'http',
      });
      expect(Number(seen['X-Request-Start'])).to.be.within(before, Date.now());
    });

    it('with the host of an absolute target', async () => {
      const app = await rawBackend(answer);
      await rig.register(app.port);
      await rig.send(
        'GET http://app.example.com:8/p?q HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n',
      );
      const { line, headers } = headOf(app.received[0]!);
      expect(line).to.equal('GET http://app.example.com:8/p?q HTTP/1.1');
      expect(headers[0]).to.deep.equal(['Host', 'app.example.com:8']);
    });

    it('with a body as long as it was announced', async () => {
      const app = await backend(async (request, response) => response.end(await bodyOf(request)));
      await rig.register(app.port);
      const body = Buffer.alloc(3_000_000, 'x');
      expect((await rig.ask('/', { method: 'PUT', body })).body).to.equal(body.toString());
      const chunked = { method: 'POST', body: 'ab', headers: { 'Transfer-Encoding': 'chunked' } };
      expect((await rig.ask('/', chunked)).body).to.equal('ab');
    });

    it('without a body where the client sent none', async () => {
      const app = await rawBackend(answer);
      await rig.register(app.port);
      await rig.send('POST / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n');
      const { headers, rest } = headOf(app.received[0]!);
      expect(Object.fromEntries(headers)).to.include({ 'Content-Length': '0' });
      expect(Object.fromEntries(headers)).not.to.have.property('Transfer-Encoding');
      expect(rest).to.equal('');
    });

    it('with its length, even when the client wants that dropped', async () => {
      const app = await rawBackend(answer);
      await rig.register(app.port);
      await rig.send(
        'GET / HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 3\r\nConnection: close, content-length\r\n\r\nabc',
      );
      expect(Object.fromEntries(headOf(app.received[0]!).headers)).to.include({ 'Content-Length': '3' });
    });
  });

  describe('and the answer to the client', () => {
    it('as it came, without what is between router and app', async () => {
      const app = await rawBackend(
        'HTTP/1.1 203 Whatever\r\nDate: Thu\r\nX-One: 1\r\nx-one: 2\r\nX-CF-Proxy-Signature: secret\r\nKeep-Alive: 1\r\n' +
          'Connection: x-hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok',
      );
      await rig.register(app.port);
      const { status, rawHeaders, headers, body } = await rig.ask('/', { headers: { connection: 'close' } });
      expect([status, body]).to.deep.equal([203, 'ok']);
      expect(rawHeaders.slice(0, 8)).to.deep.equal([
        ...['Date', 'Thu', 'X-One', '1', 'x-one', '2', 'Content-Length', '2'],
      ]);
      expect(headers).not.to.have.any.keys('x-cf-proxy-signature', 'x-hop', 'keep-alive', 'content-type');
    });

    it('with the app’s own request id, when it has one', async () => {
      const app = await rawBackend('HTTP/1.1 200 OK\r\nX-VCAP-Request-ID: mine\r\nContent-Length: 0\r\n\r\n');
      await rig.register(app.port);
      expect((await rig.ask('/')).headers['x-vcap-request-id']).to.equal('mine');
    });

    it('piece by piece, as it comes', async () => {
      let next = () => {};
      const app = await backend((_request, response) => {
        response.write('first');
        next = () => response.end('second');
      });
      await rig.register(app.port);
      const request = httpRequest({ port: rig.router.port, headers: { host: 'app.example.com' }, agent: false });
      request.end();
      const [response] = await once(request, 'response');
      const [first] = await once(response, 'data');
      expect(first.toString()).to.equal('first');
      next();
      expect((await bodyOf(response)).toString()).to.equal('second');
    });

    it('from an app that ends its answer by closing, to clients of both versions', async () => {
      const app = await rawBackend('HTTP/1.0 200 OK\r\n\r\nuntil the end');
      await rig.register(app.port);
      expect((await rig.ask('/')).body).to.equal('until the end');
      const old = await rig.send('GET / HTTP/1.0\r\nHost: app.example.com\r\n\r\n');
      expect(old).to.match(/^HTTP\/1\.1 200 OK\r\n/);
      expect(old).to.match(/\r\n\r\nuntil the end$/);
    });

    it('to HEAD without a body, and with its length', async () => {
      const app = await backend((_request, response) => response.setHeader('Content-Length', 5).end());
      await rig.register(app.port);
      const { headers, body } = await rig.ask('/', { method: 'HEAD' });
      expect([headers['content-length'], body]).to.deep.equal(['5', '']);
    });

    it('cut off where the app’s answer broke off', async () => {
      const app = await rawBackend('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this');
      await rig.register(app.port);
      const error = await rig.ask('/').then(
        () => undefined,
        (reason: NodeJS.ErrnoException) => reason,
      );
      expect(error?.code).to.equal('ECONNRESET');
    });

    it('while the rest of an upload is refused, and then the next one on the same connection', async () => {
      const app = await startRawBackend((socket, head) => {
        if (head.startsWith('GET')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext');
        // It answers without waiting for the body, and leaves it to the router to close.
        else socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large');
      });
      backends.push(app);
      await rig.register(app.port);
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const send = async (method: string, body?: Buffer) => {
        const request = httpRequest({ port: rig.router.port, agent, method, headers: { host: 'app.example.com' } });
        request.end(body);
        const [response] = await once(request, 'response', { signal: AbortSignal.timeout(5000) });
        return `${response.statusCode} ${await bodyOf(response)}`;
      };
      try {
        expect(await send('PUT', Buffer.alloc(5_000_000))).to.equal('413 too large');
        expect(await send('GET')).to.equal('200 next');
      } finally {
        agent.destroy();
      }
    });

    it('one after the other, when requests of a connection come at once', async () => {
      let going = 0;
      let most = 0;
      const app = await backend((request, response) => {
        going += 1;
        most = Math.max(most, going);
        setTimeout(() => {
          going -= 1;
          response.end(request.url);
        }, 10);
      });
      await rig.register(app.port);
      const request = (path: string, connection: string) =>
        `GET ${path} HTTP/1.1\r\nHost: app.example.com\r\nConnection: ${connection}\r\n\r\n`;
      const answer = await rig.send(
        [1, 2, 3].map((n) => request(`/${n}`, 'keep-alive')).join('') + request('/4', 'close'),
      );
      const bodies = [1, 2, 3, 4].map((n) => answer.indexOf(`\r\n\r\n/${n}`));
      expect(bodies).to.deep.equal([...bodies].sort((a, b) => a - b));
      expect(bodies).not.to.include(-1);
      expect(most).to.equal(1);
    });

    it('with who answered, for clients that know the trace key', async () => {
      const app = await backend((_request, response) => response.end());
      await rig.register(app.port);
      const traced = await rig.ask('/', { headers: { 'X-Vcap-Trace': 'open sesame' } });
      const address = `127.0.0.1:${app.port}`;
      expect(traced.headers).to.include({
        'x-vcap-router': '127.0.0.1',
        'x-vcap-backend': address,
        'x-cf-routeendpoint': address,
      });
      const guessed = await rig.ask('/', { headers: { 'X-Vcap-Trace': 'guess' } });
      expect(guessed.headers).not.to.have.property('x-vcap-backend');
    });
  });

  describe('to the right instance', () => {
    async function three(fields: (index: number) => Record<string, unknown>): Promise<void> {
      for (const index of [0, 1, 2]) {
        const app = await backend((request, response) => {
          if (request.url === '/login')
            response.setHeader('Set-Cookie', ['JSESSIONID=s; Secure; SameSite=Strict', 'a=b']);
          response.end(String(index));
        });
        await rig.register(app.port, { app: guid, private_instance_index: String(index), ...fields(index) });
      }
    }

    const bodies = async (count: number, headers: Record<string, string> = {}) => {
      const answers: string[] = [];
      for (let asked = 0; asked < count; asked += 1) answers.push((await rig.ask('/', { headers })).body);
      return answers;
    };

    it('in turn', async () => {
      await three(() => ({}));
      const answers = await bodies(6);
      expect(answers.slice(0, 3)).to.have.members(['0', '1', '2']);
      expect(answers.slice(3)).to.deep.equal(answers.slice(0, 3));
    });

    it('that the client names by app and index', async () => {
      await three(() => ({}));
      expect(await bodies(3, { 'X-CF-App-Instance': `${guid}:1` })).to.deep.equal(['1', '1', '1']);
      const unknown = await rig.ask('/', { headers: { 'X-CF-App-Instance': `${guid}:7` } });
      expect(unknown.status).to.equal(400);
      expect(unknown.headers).to.include({
        'x-cf-routererror': 'unknown_route',
        'cache-control': 'no-cache, no-store',
      });
      expect(unknown.body).to.equal(
        `400 Bad Request: Requested instance ('7') with guid ('${guid}') does not exist for route ('app.example.com')\n`,
      );
      const elsewhere = await rig.ask('/', { host: 'no.such', headers: { 'X-CF-App-Instance': `${guid}:1` } });
      expect([elsewhere.status, elsewhere.headers['x-cf-routererror']]).to.deep.equal([400, 'unknown_route']);
      const invalid = await rig.ask('/', { headers: { 'X-CF-App-Instance': `${guid}:` } });
      expect([invalid.status, invalid.headers['x-cf-routererror'], invalid.body]).to.deep.equal([
        400,
        'invalid_cf_app_instance_header',
        '400 Bad Request: Invalid X-CF-App-Instance Header\n',
      ]);
    });

    it('that the client names by process, with or without an index', async () => {
      const process = '0d2b7a5c-6e0e-4f2a-9d3b-0123456789ab';
      await three((index) => ({ tags: index === 0 ? {} : { process_id: process } }));
      expect(await bodies(2, { 'X-CF-Process-Instance': process })).to.have.members(['1', '2']);
      expect(await bodies(2, { 'X-CF-Process-Instance': `${process}:2` })).to.deep.equal(['2', '2']);
      const invalid = await rig.ask('/', { headers: { 'X-CF-Process-Instance': 'x' } });
      expect(invalid.headers['x-cf-routererror']).to.equal('invalid_cf_process_instance_header');
    });

    it('of a session, and says where it is bound', async () => {
      await three((index) => ({ private_instance_id: `inst-${index}`, uris: ['app.example.com/shop'] }));
      const login = await rig.ask('/shop');
      expect(login.headers['set-cookie']).to.equal(undefined);
      const answers: string[] = [];
      for (let asked = 0; asked < 4; asked += 1) {
        const headers = { Cookie: 'JSESSIONID=s; __VCAP_ID__=inst-2' };
        const { body, headers: answered } = await rig.ask('/shop/x', { headers });
        answers.push(body);
        expect(answered['set-cookie']).to.equal(undefined);
      }
      expect(answers).to.deep.equal(['2', '2', '2', '2']);
    });

    it('and binds a session that the app opens, or that has lost its instance', async () => {
      await three((index) => ({ private_instance_id: `inst-${index}` }));
      const { body, headers } = await rig.ask('/login');
      expect(headers['set-cookie']).to.deep.equal([
        'JSESSIONID=s; Secure; SameSite=Strict',
        'a=b',
        `__VCAP_ID__=inst-${body}; Path=/; HttpOnly; Secure; SameSite=Strict`,
      ]);
      const moved = await rig.ask('/', { headers: { Cookie: 'JSESSIONID=s; __VCAP_ID__=gone' } });
      expect(moved.headers['set-cookie']).to.deep.equal([`__VCAP_ID__=inst-${moved.body}; Path=/; HttpOnly`]);
    });
  });
});
