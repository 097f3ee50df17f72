import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { decode, encode } from '../../../lib/bbs/messages/codec.js';
import {
  DesiredLRPLifecycleResponse,
  DesireLRPRequest,
  ErrorType,
  RemoveDesiredLRPRequest,
} from '../../../lib/bbs/messages/models.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { sampleDesiredLrp } from '../../support/board-load.js';
import { eventually } from '../../support/eventually.js';
import { RawEventStream } from '../../support/raw-event-stream.js';
import { recordingLogger } from '../../support/recording-logger.js';

const megabyte = 1024 * 1024;
const ping = 'POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n';

describe('hostile connections to a board', function () {
  this.timeout(60_000);
  const { logger, lines } = recordingLogger();
  let board: RunningBbs;
  let port: number;
  const sockets: Socket[] = [];

  before(async () => {
    board = await startBbs({ logger, config: { max_event_streams: 20 } });
    port = board.bbs.port;
  });

  after(() => board?.stop());

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    const { available } = await board.client.call('Ping', {});
    expect(available).to.equal(true);
    expect(board.fatal).to.equal(undefined);
    expect(lines.filter(({ message }) => message === 'bbs.request.failed')).to.deep.equal([]);
  });

  async function connected(): Promise<Socket> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  /** All that comes until the other side ends, or until it holds a text. */
  async function answerTo(text: string | Buffer, until?: string): Promise<string> {
    const socket = await connected();
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (piece) => {
      answer += piece;
    });
    const closed = once(socket, 'close');
    socket.write(text);
    if (until === undefined) await closed;
    else await eventually(() => answer.includes(until) || undefined, { what: `an answer with ${until}` });
    return answer;
  }

  const garbage: Record<string, string | Buffer> = {
    'no HTTP at all': '\x00\x01\x02\x03\r\n\r\n',
    'a TLS handshake': Buffer.from('160301020001000001fc0303', 'hex'),
    'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'no such method': 'BREW /v1/ping HTTP/1.1\r\n\r\n',
    'a header without a colon': 'POST /v1/ping HTTP/1.1\r\nHost bbs\r\n\r\n',
    'two lengths': 'POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na',
    'a length and chunks': `POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'a negative length': 'POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: -1\r\n\r\n',
    'a chunk of no size': 'POST /v1/domains/upsert HTTP/1.1\r\nHost: bbs\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'headers of a megabyte': `POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nX: ${'x'.repeat(megabyte)}\r\n\r\n`,
    'a path of a megabyte': `POST /${'x'.repeat(megabyte)} HTTP/1.1\r\nHost: bbs\r\n\r\n`,
  };

  for (const [what, text] of Object.entries(garbage)) {
    it(`are refused and closed when they bring ${what}`, async () => {
      expect(await answerTo(text)).to.match(/^(HTTP\/1\.1 4\d\d .*)?/);
    });
  }

  it('get no tunnel, no upgrade, and an answer in spite of what they expect', async () => {
    await answerTo('CONNECT example.com:80 HTTP/1.1\r\nHost: bbs\r\n\r\n');
    const upgrade = ping.replace('\r\n\r\n', '\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    expect(await answerTo(upgrade, '\x08\x01')).to.match(/^HTTP\/1\.1 200 /);
    const expecting = ping.replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n');
    expect(await answerTo(expecting, '\x08\x01')).to.match(/200 OK/);
  });

  it('get answers in the order of their requests when those come all at once', async () => {
    const count = 2000;
    const unknown = ping.replace('/v1/ping', '/v1/nope');
    const socket = await connected();
    let answer = '';
    socket.setEncoding('latin1').on('data', (piece) => {
      answer += piece;
    });
    socket.write((ping + unknown).repeat(count / 2));
    const statuses = () => [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
    await eventually(() => statuses().length === count || undefined, { what: 'all answers' });
    expect(new Set(statuses().map((status, at) => `${at % 2} ${status}`))).to.deep.equal(new Set(['0 200', '1 404']));
  });

  it('get their writes done in order when those come all at once', async () => {
    const body = encode(DesireLRPRequest, { desiredLrp: sampleDesiredLrp('pipelined') });
    const removal = encode(RemoveDesiredLRPRequest, { processGuid: 'pipelined' });
    const pieces: Buffer[] = [];
    for (let count = 0; count < 50; count += 1) {
      pieces.push(callOf('/v1/desired_lrp/desire.r2', body), callOf('/v1/desired_lrp/remove', removal));
    }
    const socket = await connected();
    let answers = 0;
    let text = '';
    socket.setEncoding('latin1').on('data', (piece) => {
      text += piece;
      answers = text.split('HTTP/1.1 200').length - 1;
    });
    socket.write(Buffer.concat(pieces));
    await eventually(() => answers === pieces.length || undefined, { what: 'all answers' });
    expect(text.match(/Content-Length: 0/g)).to.have.lengthOf(pieces.length);
  });

  it('may be half open, or say nothing, or say it slowly; others are served meanwhile', async () => {
    const slow = await Promise.all(Array.from({ length: 200 }, connected));
    for (const [index, socket] of slow.entries()) {
      // From no byte at all to a body that lacks its last one.
      const text = callOf('/v1/desired_lrp/remove', encode(RemoveDesiredLRPRequest, { processGuid: 'p' }));
      socket.write(text.subarray(0, index % text.length));
      if (index % 3 === 0) socket.end();
    }
    const { available } = await board.client.call('Ping', {});
    expect(available).to.equal(true);
  });

  it('may end in the middle of a request, of a body, or before the answer', async () => {
    const body = encode(DesireLRPRequest, { desiredLrp: sampleDesiredLrp('left') });
    const call = callOf('/v1/desired_lrp/desire.r2', body);
    for (const size of [1, 30, call.length - 1, call.length]) {
      const socket = await connected();
      socket.write(call.subarray(0, size));
      await board.client.call('Ping', {});
      socket.resetAndDestroy();
    }
    // What came whole is carried out, whether or not somebody waits for it.
    await eventually(async () => {
      const { desiredLrps } = await board.client.call('DesiredLRPs', { processGuids: ['left'] });
      return desiredLrps.length === 1 || undefined;
    });
  });

  it('cannot send more than the limit, and cost no more memory than that', async () => {
    const before = process.memoryUsage().rss;
    let highest = 0;
    const answers = Array.from({ length: 4 }, () =>
      sendLarge(100 * megabyte, () => {
        highest = Math.max(highest, process.memoryUsage().rss);
      }),
    );
    for (const answer of await Promise.all(answers)) {
      // Who has not read it yet when the connection is closed gets none.
      if (!answer) continue;
      const { error } = decode(DesiredLRPLifecycleResponse, answer);
      expect(error).to.deep.include({ type: ErrorType.InvalidRequest });
      expect(error!.message).to.match(/larger than 67108864 bytes/);
    }
    expect(highest - before).to.be.below(600 * megabyte);
  });

  it('wait with large bodies for their turn, so that all of them together cost no more than some', async () => {
    const maximum = 16 * megabyte;
    const small = await startBbs({ config: { max_request_bytes: maximum } });
    // More than the kernel keeps for both sides. The last byte comes later.
    const body = Buffer.alloc(maximum - 1, 0xff);
    const head = `POST /v1/desired_lrp/remove HTTP/1.1\r\nHost: bbs\r\nContent-Length: ${maximum}\r\n\r\n`;
    const senders = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = connect(small.bbs.port, '127.0.0.1');
        socket.on('error', () => {});
        sockets.push(socket);
        await once(socket, 'connect');
        socket.write(head);
        socket.write(body);
        return socket;
      }),
    );
    const taken = () => senders.filter(({ writableLength }) => writableLength === 0);
    const first = await eventually(() => (taken().length >= 4 ? taken() : undefined), { what: 'four bodies' });
    // Small requests are not held up, and meanwhile nobody else gets on.
    for (let round = 0; round < 20; round += 1) await small.client.call('DesiredLRPs', { domain: `d${round}` });
    expect(taken()).to.have.members(first).and.to.have.length(4);
    // One of those that wait leaves; the others get their turn.
    const [leaving] = senders.filter((socket) => !first.includes(socket));
    leaving!.destroy();
    const staying = senders.filter((socket) => socket !== leaving);
    const answers = staying.map(async (socket) => {
      await eventually(() => socket.writableLength === 0 || undefined, { what: 'a turn' });
      socket.write(Buffer.of(0xff));
      const [answer] = (await once(socket, 'data')) as [Buffer];
      return answer.toString('latin1').split('\r\n')[0];
    });
    expect(await Promise.all(answers)).to.deep.equal(staying.map(() => 'HTTP/1.1 200 OK'));
    await small.stop();
  });

  it('leave no event stream behind, also where a stream waited behind another one', async () => {
    const subscription = 'POST /v1/events/tasks.r1 HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n';
    for (let round = 0; round < 10; round += 1) {
      const socket = await connected();
      socket.write(subscription.repeat(3));
      await once(socket, 'data');
      socket.destroy();
    }
    // There are places for twenty.
    await eventually(async () => {
      const streams: RawEventStream[] = [];
      try {
        for (let count = 0; count < 20; count += 1) {
          streams.push(await RawEventStream.open(board.url, '/v1/events/tasks.r1'));
        }
        return true;
      } finally {
        for (const stream of streams) stream.close();
      }
    });
  });

  function callOf(path: string, body: Buffer): Buffer {
    return Buffer.concat([
      Buffer.from(`POST ${path} HTTP/1.1\r\nHost: bbs\r\nContent-Length: ${body.length}\r\n\r\n`),
      body,
    ]);
  }

  /** @returns the body of the answer; undefined when the connection broke before */
  function sendLarge(size: number, look: () => void): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const asked = request({ port, method: 'POST', path: '/v1/desired_lrp/desire.r2', agent: false });
      const piece = Buffer.alloc(megabyte);
      let sent = 0;
      const send = () => {
        look();
        if (sent >= size) return void asked.end();
        sent += piece.length;
        asked.write(piece, send);
      };
      asked.once('error', () => resolve(undefined));
      asked.once('response', (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (part) => pieces.push(part));
        response.once('close', () => resolve(Buffer.concat(pieces)));
        response.on('error', () => {});
      });
      send();
    });
  }
});
