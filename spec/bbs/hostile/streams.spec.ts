import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { ProtoRoutes } from '../../../lib/bbs/messages/models.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { sampleDesiredLrp } from '../../support/board-load.js';
import { eventually } from '../../support/eventually.js';
import { RawEventStream } from '../../support/raw-event-stream.js';

const path = '/v1/events/lrp_instances.r1';
const subscription = `POST ${path} HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n`;
const megabyte = 1024 * 1024;
/** Streams that only listen; `npm run chaos` tells what they cost. */
const idleStreams = 1000;

describe('event streams of a board', function () {
  this.timeout(60_000);
  let board: RunningBbs;
  const sockets: Socket[] = [];

  before(async () => {
    board = await startBbs({ config: { max_event_stream_bytes: megabyte, event_heartbeat_interval: '100ms' } });
  });

  after(async () => {
    for (const socket of sockets) socket.destroy();
    await board?.stop();
  });

  const desire = (processGuid: string, routeBytes = 0) => {
    const routes = ProtoRoutes.create({ routes: new Map([['r', Buffer.from(`"${'x'.repeat(routeBytes)}"`)]]) });
    return board.client.call('DesireDesiredLRP', { desiredLrp: sampleDesiredLrp(processGuid, { routes }) });
  };

  /** One that reads its answer's head, and nothing after it until it is told to. */
  async function subscribe(): Promise<Socket> {
    const socket = connect(board.bbs.port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write(subscription);
    await once(socket, 'data');
    socket.pause();
    return socket;
  }

  it('end for one who does not read, with a last chunk; others get every event', async () => {
    const silent = await subscribe();
    const reader = await RawEventStream.open(board.url, path);
    const before = process.memoryUsage().rss;
    // In base64, more than what the kernel keeps for both sides.
    const count = 200;
    const routeBytes = 100_000;
    for (let sent = 0; sent < count; sent += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => desire(`slow-${sent + index}`, routeBytes)));
    }
    const desired = () => reader.events.filter(({ name }) => name === 'desired_lrp_created').length;
    await eventually(() => desired() === count || undefined, { what: 'all events at the reader' });
    expect(reader.events.map(({ id }) => id)).to.deep.equal(reader.events.map((_, index) => index));
    expect(process.memoryUsage().rss - before).to.be.below(400 * megabyte);
    let tail = '';
    let size = 0;
    silent.setEncoding('latin1').on('data', (piece) => {
      tail = (tail + piece).slice(-20);
      size += piece.length;
    });
    const closed = once(silent, 'close');
    silent.resume();
    await closed;
    expect(tail.endsWith('\r\n0\r\n\r\n')).to.equal(true);
    // It was cut off before all had been sent, in base64.
    expect(size).to.be.below((count * routeBytes * 4) / 3);
    reader.close();
  });

  it('may be a thousand that are silent, beside one that gets every event', async () => {
    const before = process.memoryUsage().rss;
    const begun = performance.now();
    const idle: Socket[] = [];
    while (idle.length < idleStreams) idle.push(...(await Promise.all(Array.from({ length: 50 }, subscribe))));
    const opened = performance.now();
    const reader = await RawEventStream.open(board.url, path);
    const guids = Array.from({ length: 20 }, (_, index) => `idle-${index}`);
    for (const guid of guids) await desire(guid);
    await eventually(() => reader.events.length >= 2 * guids.length || undefined, { what: 'all events' });
    const done = performance.now();
    if (process.env.CHAOS_ROUNDS) {
      const memory = Math.round((process.memoryUsage().rss - before) / 1024 / idleStreams);
      const ms = (from: number, to: number) => Math.round(to - from);
      console.log(
        `      ${idleStreams} streams in ${ms(begun, opened)} ms, ${memory} KiB each with its client; ` +
          `${guids.length} calls with ${reader.events.length * (idleStreams + 1)} events in ${ms(opened, done)} ms`,
      );
    }
    for (const socket of idle) socket.destroy();
    reader.close();
    await desire('after');
  });

  it('end with a last chunk when the board stops', async () => {
    const stream = await RawEventStream.open(board.url, path);
    const heartbeats = await subscribe();
    await board.restart();
    expect(await stream.ended).to.equal('last chunk');
    let text = '';
    heartbeats.setEncoding('latin1').on('data', (piece) => {
      text += piece;
    });
    heartbeats.resume();
    await once(heartbeats, 'close');
    expect(text.endsWith('0\r\n\r\n')).to.equal(true);
  });
});
