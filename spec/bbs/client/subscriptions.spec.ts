import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { BbsClient } from '../../../lib/bbs/client/bbs-client.js';
import {
  type BrokenStream,
  EndpointNotFound,
  InvalidEventPayload,
  InvalidResponse,
  PeerUnreachable,
  UnrecognizedEvent,
} from '../../../lib/bbs/client/errors.js';
import type { EventSubscription } from '../../../lib/bbs/client/streams/event-subscription.js';
import type { BbsEvent } from '../../../lib/bbs/decisions/events/event.js';
import {
  ActualLRP,
  ActualLRPInstanceCreatedEvent,
  ActualLRPKey,
  Task,
  TaskCreatedEvent,
} from '../../../lib/bbs/messages/models.js';
import { eventually } from '../../support/eventually.js';
import { chunk, eventChunk, PlayedBbs, streamHead } from '../../support/played-bbs.js';
import { rejectionOf } from '../../support/rejection.js';

/** The so-and-so-manieth event. */
const task = (taskGuid: string, result = ''): BbsEvent => ({
  name: 'task_created',
  message: TaskCreatedEvent.create({ task: Task.create({ taskGuid, result }) }),
});

const guidOf = (event: BbsEvent) => (event.message as TaskCreatedEvent).task!.taskGuid;

async function guidsOf(subscription: EventSubscription): Promise<string[]> {
  const guids: string[] = [];
  for await (const event of subscription) guids.push(guidOf(event));
  return guids;
}

describe('a subscription to events', () => {
  let bbs: PlayedBbs;
  let client: BbsClient;

  before(async () => {
    bbs = await PlayedBbs.start();
    client = BbsClient.create({ url: bbs.url, streamRetryIntervalMs: 1 });
  });

  afterEach(() => bbs.reset());

  after(async () => {
    client.stop();
    await bbs.stop();
  });

  it('gives the events as they come, until the stream ends', async () => {
    const subscription = await client.subscribe('LRPInstanceEventStream', { cellId: 'c' });
    const stream = await bbs.stream(0);
    const { method, path, message } = stream.request;
    expect({ method, path, message }).to.deep.equal({
      method: 'POST',
      path: '/v1/events/lrp_instances.r1',
      message: { cellId: 'c' },
    });
    const lrp = ActualLRP.create({ actualLrpKey: ActualLRPKey.create({ processGuid: 'p' }) });
    const event: BbsEvent = {
      name: 'actual_lrp_instance_created',
      message: ActualLRPInstanceCreatedEvent.create({ actualLrp: lrp, traceId: 't' }),
    };
    const iterator = subscription[Symbol.asyncIterator]();
    stream.send(event);
    expect((await iterator.next()).value).to.deep.equal(event);
    stream.raw(chunk(':\n\n'));
    stream.send(event);
    expect((await iterator.next()).value).to.deep.equal(event);
    stream.end();
    expect(await iterator.next()).to.deep.equal({ done: true, value: undefined });
    expect(bbs.streams).to.have.length(1);
  });

  it('asks for the groups by GET with a body, and for tasks without', async () => {
    for (const [name, expected] of [
      ['EventStream', ['GET', '/v1/events.r1', '0a0163']],
      ['TaskEventStream', ['POST', '/v1/events/tasks.r1', '']],
    ] as const) {
      bbs.reset();
      const subscription = await client.subscribe(name, { cellId: 'c' });
      const { method, path, body } = (await bbs.stream(0)).request;
      expect([method, path, body.toString('hex')]).to.deep.equal(expected);
      subscription.stop();
    }
  });

  it('is over when it is stopped or left, and closes its connection', async () => {
    const stopped = await client.subscribe('TaskEventStream');
    const waiting = guidsOf(stopped);
    stopped.stop();
    stopped.stop();
    expect(await waiting).to.deep.equal([]);

    const left = await client.subscribe('TaskEventStream');
    (await bbs.stream(1)).send(task('t'));
    for await (const event of left) {
      expect(guidOf(event)).to.equal('t');
      break;
    }
    const unread = await client.subscribe('TaskEventStream');
    unread.stop();
    expect(await guidsOf(unread)).to.deep.equal([]);
    await eventually(() => (bbs.streams.every(({ socket }) => socket.destroyed) ? true : undefined));
  });

  it('throws the reason of a signal, while it connects and while it waits', async () => {
    const giving = new AbortController();
    const subscription = await client.subscribe('TaskEventStream', { signal: giving.signal });
    const waiting = rejectionOf(guidsOf(subscription));
    giving.abort(new Error('enough'));
    expect((await waiting).message).to.equal('enough');

    const other = new AbortController();
    bbs.rawAnswers['/v1/events/tasks.r1'] = () => other.abort(new Error('too slow'));
    const connecting = client.subscribe('TaskEventStream', { signal: other.signal });
    expect((await rejectionOf(connecting)).message).to.equal('too slow');
    const late = client.subscribe('TaskEventStream', { signal: other.signal });
    expect((await rejectionOf(late)).message).to.equal('too slow');
  });

  it('fails when its client is stopped', async () => {
    const other = BbsClient.create({ url: bbs.url });
    const waiting = rejectionOf(guidsOf(await other.subscribe('TaskEventStream')));
    other.stop();
    expect((await waiting).message).to.match(/is stopped$/);
    await rejectionOf(other.subscribe('TaskEventStream'));
  });

  describe('that breaks off', () => {
    it('goes on with a new connection, and tells of the gap', async () => {
      const gaps: BrokenStream[] = [];
      const subscription = await client.subscribe('TaskEventStream', { onBroken: (error) => gaps.push(error) });
      const read = guidsOf(subscription);
      (await bbs.stream(0)).send(task('a'));
      (await bbs.stream(0)).socket.end();
      (await bbs.stream(1)).send(task('b'));
      (await bbs.stream(1)).raw('no chunk\r\n');
      (await bbs.stream(2)).send(task('c'));
      (await bbs.stream(2)).end();
      expect(await read).to.deep.equal(['a', 'b', 'c']);
      expect(gaps.map(({ message }) => message)).to.deep.equal([
        'the connection ended before the stream',
        'not the size of a chunk: "no chunk"',
      ]);
    });

    it('after as many milliseconds as it asks for', async () => {
      const patient = BbsClient.create({ url: bbs.url, streamRetryIntervalMs: 3_600_000 });
      const subscription = await patient.subscribe('TaskEventStream');
      const read = guidsOf(subscription);
      const stream = await bbs.stream(0);
      stream.raw(chunk('retry: 1\n\n'));
      stream.socket.end();
      (await bbs.stream(1)).end();
      expect(await read).to.deep.equal([]);
      patient.stop();
    });

    it('fails when the BBS does not come back', async () => {
      const mortal = await PlayedBbs.start();
      const other = BbsClient.create({ url: mortal.url, streamRetryIntervalMs: 1, streamRetries: 2 });
      const read = rejectionOf(guidsOf(await other.subscribe('TaskEventStream')));
      await mortal.stop();
      expect(await read).to.be.instanceOf(PeerUnreachable);
      other.stop();
    });
  });

  describe('that is not granted', () => {
    /** What the server answers, one after the other; then it grants it. */
    function refuse(...statuses: (number | 'cut')[]): void {
      bbs.rawAnswers['/v1/events/tasks.r1'] = (_request, response) => {
        const status = statuses.shift()!;
        if (status === 'cut') response.socket!.destroy();
        else response.writeHead(status).end();
        if (statuses.length === 0) bbs.rawAnswers = {};
      };
    }

    it('is asked for again and again while the server is not ready', async () => {
      refuse(500, 502, 503, 504, 503, 503, 503, 503);
      const subscription = await client.subscribe('TaskEventStream');
      expect(bbs.requests).to.have.length(9);
      subscription.stop();
    });

    it('is asked for three times more while there is no connection', async () => {
      refuse('cut', 'cut', 'cut');
      (await client.subscribe('TaskEventStream')).stop();
      bbs.requests.length = 0;
      refuse('cut', 'cut', 'cut', 'cut', 'cut');
      const error = await rejectionOf(client.subscribe('TaskEventStream'));
      expect(error).to.be.instanceOf(PeerUnreachable);
      expect(bbs.requests).to.have.length(4);
    });

    it('fails at once for any other answer', async () => {
      refuse(418);
      expect(await rejectionOf(client.subscribe('TaskEventStream')))
        .to.be.instanceOf(InvalidResponse)
        .and.include({ status: 418 });
      refuse(404);
      expect(await rejectionOf(client.subscribe('TaskEventStream'))).to.be.instanceOf(EndpointNotFound);
      expect(bbs.requests).to.have.length(2);
    });

    it('fails when the answer is not HTTP', async () => {
      const server = createServer((socket) => socket.end('hello\r\n\r\n')).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const other = BbsClient.create({ url: `http://127.0.0.1:${port}`, streamRetries: 0 });
      const error = await rejectionOf(other.subscribe('TaskEventStream'));
      expect(error.message).to.equal(`http://127.0.0.1:${port}: not the status line of a response: "hello"`);
      other.stop();
      server.close();
    });
  });

  describe('with events that are none', () => {
    const unknown = chunk('event: moon_full\ndata: AA==\n\n');

    it('fails with one of an unknown name, unless it is told to pass them over', async () => {
      const strict = await client.subscribe('TaskEventStream');
      (await bbs.stream(0)).raw(unknown);
      expect(await rejectionOf(guidsOf(strict)))
        .to.be.instanceOf(UnrecognizedEvent)
        .and.include({ eventName: 'moon_full' });

      const names: string[] = [];
      const lenient = await client.subscribe('TaskEventStream', {
        onUnrecognizedEvent: ({ eventName }) => names.push(eventName),
      });
      const stream = await bbs.stream(1);
      stream.raw(unknown);
      stream.send(task('a'));
      stream.end();
      expect(await guidsOf(lenient)).to.deep.equal(['a']);
      expect(names).to.deep.equal(['moon_full']);
    });

    it('fails with one whose data is not its message', async () => {
      const subscription = await client.subscribe('TaskEventStream');
      (await bbs.stream(0)).raw(chunk('event: task_created\ndata: /w==\n\n'));
      expect(await rejectionOf(guidsOf(subscription))).to.be.instanceOf(InvalidEventPayload);
      await eventually(() => (bbs.streams[0]!.socket.destroyed ? true : undefined));
    });

    it('never keeps more of one than it may have', async () => {
      const other = BbsClient.create({ url: bbs.url, maximumEventBytes: 1000, streamRetryIntervalMs: 1 });
      const gaps: string[] = [];
      const subscription = await other.subscribe('TaskEventStream', { onBroken: ({ message }) => gaps.push(message) });
      const read = guidsOf(subscription);
      (await bbs.stream(0)).send(task('t', 'x'.repeat(2000)));
      (await bbs.stream(1)).end();
      expect(await read).to.deep.equal([]);
      expect(gaps).to.deep.equal(['an event of more than 1000 bytes']);
      other.stop();
    });
  });

  it('lets the sender wait for a slow reader, and loses nothing', async () => {
    bbs.answers.Ping = () => ({});
    const subscription = await client.subscribe('TaskEventStream');
    const stream = await bbs.stream(0);
    const count = 100;
    const big = 'x'.repeat(200_000);
    for (let index = 0; index < count; index += 1) stream.send(task(`t${index}`, big));
    stream.end();
    const sent = stream.socket.writableLength;
    const iterator = subscription[Symbol.asyncIterator]();
    for (let index = 0; index < count; index += 1) {
      expect(guidOf((await iterator.next()).value as BbsEvent)).to.equal(`t${index}`);
      if (index > 0) continue;
      // Time enough to read on; the kernel takes some megabytes.
      for (let turn = 0; turn < 50; turn += 1) await client.call('Ping');
      expect(stream.socket.writableLength).to.be.greaterThan(sent / 2);
    }
    expect((await iterator.next()).done).to.equal(true);
  });

  it('gives all events before a cut, wherever the bytes are cut', async () => {
    const events = [task('a'), task('b', 'x'.repeat(50)), task('c')];
    const chunks = events.map((event, index) => eventChunk(event, index));
    const body = Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')]);
    const ends = chunks.map((_chunk, index) => Buffer.concat(chunks.slice(0, index + 1)).length);
    await fc.assert(
      fc.asyncProperty(fc.nat(body.length - 1), async (cut) => {
        bbs.reset();
        bbs.rawAnswers['/v1/events/tasks.r1'] = (_request, response) => {
          bbs.rawAnswers = {};
          response.socket!.write(streamHead);
          response.socket!.end(body.subarray(0, cut));
        };
        let gaps = 0;
        const subscription = await client.subscribe('TaskEventStream', {
          onBroken() {
            gaps += 1;
          },
        });
        const read = guidsOf(subscription);
        (await bbs.stream(0)).end();
        // An event is there with its empty line, which the chunk's own end comes behind.
        const whole = events.filter((_event, index) => cut >= ends[index]! - 2);
        expect(await read).to.deep.equal(whole.map(guidOf));
        expect(gaps).to.equal(1);
      }),
      { numRuns: 40 },
    );
  });
});
