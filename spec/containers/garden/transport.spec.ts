import { createHash, randomBytes } from 'node:crypto';
import { request } from 'node:http';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import { callGarden, type GardenProcess, RawConnection, startGarden } from '../../support/garden.js';

describe('the Garden API on its connections', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  const open: RawConnection[] = [];

  before(async () => {
    garden = await startGarden({ read_header_timeout: '700ms' });
    await call('POST', '/containers', { handle: 'c' });
  });

  after(async () => {
    await call('DELETE', '/containers/c');
    await garden.stop();
  });

  afterEach(() => {
    for (const connection of open.splice(0)) connection.close();
  });

  const call = (method: string, path: string, body?: unknown) => callGarden(garden.socket, method, path, body);
  const connect = async (text: string) => {
    const connection = await RawConnection.open(garden.socket);
    open.push(connection);
    connection.send(text);
    return connection;
  };

  it('answers paths and methods that it does not know in plain text', async () => {
    for (const path of [
      '/',
      '/nope',
      '/containers/',
      '/ping/',
      '//ping',
      '/containers//info',
      '/containers/%zz/info',
    ]) {
      const answer = await call('GET', path);
      expect([answer.status, answer.text], path).to.deep.equal([404, '404 page not found\n']);
      expect(answer.headers['content-type']).to.match(/^text\/plain/);
    }
    for (const [method, path, allowed] of [
      ['DELETE', '/ping', 'GET'],
      ['PUT', '/containers', 'GET, POST'],
      ['PATCH', '/containers/c/properties/a', 'GET, PUT, DELETE'],
      ['POST', '/containers/c', 'DELETE'],
    ] as const) {
      const answer = await call(method, path);
      expect([answer.status, answer.text], path).to.deep.equal([405, 'Method Not Allowed\n']);
      expect(answer.headers.allow).to.equal(allowed);
    }
  });

  it('answers one request after the other on a connection, in their order, also when they come together', async () => {
    const ping = 'GET /ping HTTP/1.1\r\nHost: api\r\n\r\n';
    const connection = await connect(
      `${ping}GET /capacity HTTP/1.1\r\nHost: api\r\n\r\n${ping}GET /x HTTP/1.1\r\nHost: api\r\n\r\n`,
    );
    await connection.until(({ text }) => text.includes('404 page not found'));
    const bodies = [...connection.text.matchAll(/\r\n\r\n(.)(?:.*)\n/g)].map(([, first]) => first);
    expect(bodies).to.deep.equal(['{', '{', '{', '4']);
    expect(connection.hasEnded).to.equal(false);
    connection.send('GET /ping HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n');
    expect((await connection.ended()).text).to.match(/\{\}\n$/);
  });

  it('answers a client that sends byte by byte, and one that sends no more', async () => {
    const slow = await connect('');
    const body = '{"handle":"c"}';
    const text = `\r\nPOST /containers HTTP/1.1\r\nHost: api\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    for (const char of text) {
      slow.send(char);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await slow.until((connection) => connection.text.includes("Handle 'c' already in use"));
    const leaving = await connect('');
    leaving.socket.end('GET /ping HTTP/1.1\r\nHost: api\r\n\r\n');
    expect((await leaving.ended()).text).to.match(/\{\}\n$/);
  });

  it('tells a client that asks first to go on', async () => {
    const head = 'POST /containers HTTP/1.1\r\nHost: api\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n';
    const connection = await connect(head);
    await connection.until(({ text }) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
    connection.send('{"handle":"c"}');
    await connection.until(({ text }) => text.includes("Handle 'c' already in use"));
  });

  it('refuses what is no HTTP, and goes on for others', async () => {
    for (const [text, status] of [
      ['GET /ping HTTP/1.1\r\n\r\n', 400],
      ['garbage\r\n\r\n', 400],
      ['GET /ping HTTP/1.1\nHost: api\n\n', 400],
      ['POST /containers HTTP/1.1\r\nHost: api\r\nContent-Length: x\r\n\r\n', 400],
      ['POST /containers HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 0],
      [`GET /ping HTTP/1.1\r\nHost: api\r\nX: ${'x'.repeat(300_000)}\r\n\r\n`, 431],
      ['\0'.repeat(1_000), 400],
    ] as const) {
      const connection = await (await connect(text)).ended();
      if (status > 0) expect(connection.text, text.slice(0, 60)).to.match(new RegExp(`^HTTP/1.1 ${status} `));
    }
    expect((await call('GET', '/ping')).text).to.equal('{}\n');
  });

  it('cuts off a client whose request does not begin in time', async () => {
    const idle = await connect('');
    const halting = await connect('GET /ping HT');
    await Promise.all([idle.ended(3_000), halting.ended(3_000)]);
    // What takes its time behind the head is left alone.
    const connection = await RawConnection.request(garden.socket, 'POST /containers/c/processes', {
      path: 'sleep',
      args: ['1'],
    });
    expect((await connection.ended()).payloads.at(-1)).to.include({ exit_status: 0 });
  });

  it('minds no client that breaks off in the middle of a body', async () => {
    for (const head of ['POST /containers', 'PUT /containers/c/stop', 'POST /containers/c/processes']) {
      const connection = await connect(`${head} HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\n{"ha`);
      connection.close();
    }
    expect((await call('GET', '/ping')).status).to.equal(200);
    expect((await call('GET', '/containers/c/info')).json).to.include({ State: 'active', ProcessIDs: null });
  });

  describe('with files', () => {
    const archive = (files: Record<string, string | Buffer>) => {
      const tar = pack();
      for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
      tar.finalize();
      return buffer(tar as unknown as Readable);
    };
    const streamIn = (query: string, tar: Buffer) => call('PUT', `/containers/c/files?${query}`, tar);
    const output = async (script: string) => {
      const path = 'POST /containers/c/processes';
      const connection = await RawConnection.request(garden.socket, path, { path: 'sh', args: ['-c', script] });
      const { process_id: id, stream_id: stream } = (await connection.ended()).payloads[0]!;
      const stdout = await RawConnection.request(
        garden.socket,
        `GET /containers/c/processes/${id}/attaches/${stream}/stdout`,
      );
      return (await stdout.ended()).rest;
    };

    it('takes them in as the user, and gives them out, whole', async () => {
      const content = randomBytes(3_000_000);
      expect((await streamIn('user=root&destination=/tmp/in', await archive({ big: content }))).text).to.equal('{}\n');
      const sum = createHash('md5').update(content).digest('hex');
      expect(await output('md5sum </tmp/in/big')).to.match(new RegExp(`^${sum}`));
      const answer = await call('GET', '/containers/c/files?user=root&source=/tmp/in/');
      expect(answer.headers).to.include({
        'content-type': 'application/octet-stream',
        'transfer-encoding': 'chunked',
      });
      expect(answer.text.slice(0, 3)).to.equal('./\0');
      expect((await call('GET', '/containers/c/files?user=root&source=/tmp/in')).text.slice(0, 4)).to.equal('in/\0');
      await streamIn('user=vcap&destination=/home/vcap', await archive({ mine: 'x' }));
      expect(await output('stat -c %U /home/vcap/mine')).to.equal('vcap\n');
    });

    it('tells why it does not, and answers on', async () => {
      const tar = await archive({ file: 'x'.repeat(100_000) });
      for (const [query, body] of [
        ['user=batman&destination=/tmp', tar],
        ['user=vcap&destination=/root/x', tar],
        ['user=root', tar],
        ['user=root&destination=/tmp', tar.subarray(0, 50_000)],
        ['user=root&destination=/tmp', Buffer.from('no archive at all '.repeat(100))],
        ['user=root&destination=/tmp', Buffer.alloc(0)],
      ] as const) {
        const { status, json } = await streamIn(query, body);
        expect(status, query).to.equal(500);
        expect((json as { Message: string }).Message).to.match(/^stream-in: nstar: error streaming in: ./);
      }
      for (const source of ['/no/such', '/no/such/']) {
        expect((await call('GET', `/containers/c/files?user=root&source=${source}`)).status).to.equal(500);
      }
    });

    it('minds no client that breaks off in the middle of them', async () => {
      const sending = request({
        socketPath: garden.socket,
        method: 'PUT',
        path: '/containers/c/files?destination=/tmp/cut',
      });
      sending.on('error', () => {});
      sending.write((await archive({ f: 'x'.repeat(200_000) })).subarray(0, 100_000));
      await new Promise((resolve) => setImmediate(resolve));
      sending.destroy();
      await output('head -c 50000000 /dev/zero >/tmp/zeros');
      const reading = await connect('GET /containers/c/files?source=/tmp/zeros HTTP/1.1\r\nHost: api\r\n\r\n');
      await reading.until(({ length }) => length > 100_000);
      reading.close();
      expect((await call('GET', '/ping')).status).to.equal(200);
      expect(await output('echo well')).to.equal('well\n');
    });
  });
});
