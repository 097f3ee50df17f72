import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { startBbs } from '../../support/bbs.js';
import { field, inHex } from '../../support/board/bytes.js';
import { Caller } from '../../support/board/caller.js';
import { readByTables } from '../../support/board/message-tables.js';
import { begin, exchange, type RawQuestion } from '../../support/board/raw-exchange.js';
import { eventually } from '../../support/eventually.js';

const streams = {
  'events.r1': 'GET',
  events: 'GET',
  'events/lrp_instances.r1': 'POST',
  'events/lrp_instances': 'POST',
  'events/tasks.r1': 'POST',
  'events/tasks': 'POST',
} as const;

type StreamPath = keyof typeof streams;

interface RawEvent {
  id: number;
  name: string;
  data: Buffer;
}

/** The framing of docs/protocol/bbs.md §11.1, read here and not by the board's own client. */
describe('event streams in bytes', () => {
  let caller: Caller;
  const open: { close(): void }[] = [];

  before(async () => {
    caller = new Caller(
      await startBbs({ config: { max_event_stream_bytes: 512 * 1024, event_heartbeat_interval: '100ms' } }),
    );
    await caller.board.addCell('c1');
  });

  afterEach(async () => {
    for (const stream of open.splice(0)) stream.close();
    await caller.clear();
  });

  after(() => caller.board.stop());

  async function follow(path: StreamPath, question: RawQuestion = {}): Promise<RawStream> {
    const response = await begin(`${caller.board.url}/v1/${path}`, { method: streams[path], headers: {}, ...question });
    const stream = new RawStream(response);
    open.push(stream);
    return stream;
  }

  for (const path of Object.keys(streams) as StreamPath[]) {
    it(`begin at once, before there is an event: ${path}`, async () => {
      const { response } = await follow(path);
      expect(response.statusCode).to.equal(200);
      expect(response.headers).to.include({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache, no-store, must-revalidate',
        connection: 'keep-alive',
        'transfer-encoding': 'chunked',
      });
    });
  }

  it('have a line each for id, name and data, and an empty one', async () => {
    const stream = await follow('events/lrp_instances.r1');
    await caller.desire('p', { instances: 0 }, 'trace');
    await stream.events(1);
    const [, data] = /^id: 0\nevent: desired_lrp_created\ndata: ([A-Za-z0-9+/]+={0,2})\n\n$/.exec(stream.text)!;
    const event = readByTables('DesiredLRPCreatedEvent', Buffer.from(data!, 'base64'));
    expect(event).to.have.property('trace_id', 'trace');
    expect(event).to.have.nested.property('desired_lrp.process_guid', 'p');
  });

  it('count for each subscriber, and replay nothing', async () => {
    const first = await follow('events/lrp_instances.r1');
    await caller.desire('p');
    await first.events(2);
    const second = await follow('events/lrp_instances.r1', { headers: { 'Last-Event-ID': '0' } });
    await caller.update('p', { annotation: 'new' });
    const events = await second.events(1);
    expect(events.map(({ id, name }) => [id, name])).to.deep.equal([[0, 'desired_lrp_changed']]);
    expect((await first.events(3)).map(({ id }) => id)).to.deep.equal([0, 1, 2]);
  });

  it('carry the messages of their names', async () => {
    const paths = ['events/lrp_instances.r1', 'events.r1', 'events/tasks.r1'] as const;
    const [instances, groups, tasks] = await Promise.all(paths.map((path) => follow(path)));
    await caller.desire('p');
    for (const count of [1, 2, 3]) {
      await caller.start('p', 0, `i${count}/c1`);
      await caller.crash('p', 0, `i${count}/c1`);
    }
    await caller.removeDesired('p');
    await caller.desireTask('t');
    await caller.call('CancelTask', { taskGuid: 't' });
    await caller.call('ResolvingTask', { taskGuid: 't' });
    await caller.call('DeleteTask', { taskGuid: 't' });

    const told = await instances!.events(15);
    const names = new Set(told.map(({ name }) => name));
    expect([...names].sort()).to.deep.equal([
      ...['actual_lrp_crashed', 'actual_lrp_instance_changed', 'actual_lrp_instance_created'],
      ...['actual_lrp_instance_removed', 'desired_lrp_created', 'desired_lrp_removed'],
    ]);
    const ofInstance = (event: RawEvent, message: string) => {
      const read = readByTables(message, event.data);
      const lrp = (read.actual_lrp ?? read) as { actual_lrp_key: { process_guid: string } };
      expect(lrp.actual_lrp_key.process_guid, event.name).to.equal('p');
      return read;
    };
    const messages: Record<string, string> = {
      actual_lrp_crashed: 'ActualLRPCrashedEvent',
      actual_lrp_instance_changed: 'ActualLRPInstanceChangedEvent',
      actual_lrp_instance_created: 'ActualLRPInstanceCreatedEvent',
      actual_lrp_instance_removed: 'ActualLRPInstanceRemovedEvent',
    };
    for (const event of told) if (messages[event.name]) ofInstance(event, messages[event.name]!);
    const crash = told.filter(({ name }) => name === 'actual_lrp_crashed')[2]!;
    // The example of the document, but for the last field, the time, and the names.
    expect(inHex(crash.data)).to.match(
      /^0a 06 0a 01 70 1a 01 64 12 08 0a 02 69 33 12 02 63 31 18 03 22 04 62 6f 6f 6d 28( ..){9}$/,
    );
    const changed = told.find(({ name }) => name === 'actual_lrp_instance_changed')!;
    expect(ofInstance(changed, 'ActualLRPInstanceChangedEvent')).to.have.nested.property('after.Routable', true);

    const groupNames = (await groups!.events(13)).map(({ name }) => name);
    expect([...new Set(groupNames)].sort()).to.deep.equal([
      ...['actual_lrp_changed', 'actual_lrp_crashed', 'actual_lrp_created', 'actual_lrp_removed'],
      ...['desired_lrp_created', 'desired_lrp_removed'],
    ]);
    expect((await tasks!.events(4)).map(({ name, data }) => [name, data.length > 0])).to.deep.equal([
      ...[
        ['task_created', true],
        ['task_changed', true],
        ['task_changed', true],
        ['task_removed', true],
      ],
    ]);
  });

  it('take the cell from the body, also of a GET', async () => {
    const body = field(1, 'c1');
    const watched = await Promise.all(
      (['events.r1', 'events', 'events/lrp_instances.r1', 'events/lrp_instances'] as const).map((path) =>
        follow(path, { body }),
      ),
    );
    await caller.desire('p', { instances: 2 });
    await caller.start('p', 1, 'j/elsewhere');
    await caller.start('p', 0, 'i/c1');
    for (const stream of watched) {
      expect((await stream.events(2)).map(({ name }) => name)).to.deep.equal([
        'desired_lrp_created',
        stream.path.includes('instances') ? 'actual_lrp_instance_changed' : 'actual_lrp_changed',
      ]);
    }
  });

  it('of old tell in the forms of old', async () => {
    const [instances, groups, tasks, task3] = await Promise.all(
      (['events/lrp_instances', 'events', 'events/tasks', 'events/tasks.r1'] as const).map((path) => follow(path)),
    );
    const imageLayers = [
      ...[{ name: 's', url: 'http://s', destinationPath: '/s', layerType: 1, mediaType: 1, digestAlgorithm: 1 }],
    ].map((layer) => ({ ...layer, digestValue: 'ab' }) as never);
    await caller.desire('p', { instances: 0, imageLayers, startTimeoutMs: 5000n, legacyDownloadUser: 'vcap' });
    await caller.desireTask('t', { imageLayers });
    for (const stream of [instances!, groups!]) {
      const [event] = await stream.events(1);
      const { desired_lrp } = readByTables('DesiredLRPCreatedEvent', event!.data);
      expect(desired_lrp).to.have.property('deprecated_start_timeout_s', 5);
      expect(desired_lrp).not.to.have.any.keys('image_layers', 'cached_dependencies');
      expect(desired_lrp).to.have.nested.property(
        'setup.serial_action.actions[0].parallel_action.actions[0].download_action.cache_key',
        'sha256:ab',
      );
    }
    const definitionOf = async (stream: RawStream) => {
      const [event] = await stream.events(1);
      return (readByTables('TaskCreatedEvent', event!.data).task as { task_definition: object }).task_definition;
    };
    expect(await definitionOf(tasks!))
      .to.have.property('cached_dependencies')
      .with.length(1);
    expect(await definitionOf(tasks!)).not.to.have.property('image_layers');
    expect(await definitionOf(task3!))
      .to.have.property('image_layers')
      .with.length(1);
  });

  it('give signs of life', async () => {
    const stream = await follow('events/tasks.r1');
    await eventually(() => stream.raw.split(':\n\n').length > 2 || undefined, { what: 'two signs of life' });
    expect(await stream.events(0)).to.deep.equal([]);
  });

  it('cut off who does not read 2,000 events, properly, and delay nobody else', async () => {
    const slow = connect(Number(new URL(caller.board.url).port), '127.0.0.1');
    open.push({ close: () => slow.destroy() });
    slow.write('POST /v1/events/lrp_instances.r1 HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n');
    const [head] = (await once(slow, 'data')) as [Buffer];
    slow.pause();
    const quick = await follow('events/lrp_instances.r1');
    await caller.desire('busy', { instances: 0 });
    // The kernel takes some megabytes before the board notices.
    const updates = 2100;
    for (let sent = 0; sent < updates; sent += 50) {
      const batch = Array.from({ length: 50 }, (_, index) => `${sent + index} ${'x'.repeat(4000)}`);
      await Promise.all(batch.map((annotation) => caller.update('busy', { annotation })));
      // Whoever reads is not held up by who does not.
      await quick.received(sent + batch.length + 1, 2000);
    }
    expect(quick.ids()).to.deep.equal(Array.from({ length: updates + 1 }, (_, id) => id));
    expect(quick.response.complete).to.equal(false);

    const { text, isEnded } = await restOf(slow, head);
    expect(text.endsWith('\r\n0\r\n\r\n')).to.equal(true);
    expect(isEnded).to.equal(true);
    const count = text.split('\nevent: ').length - 1;
    expect(count)
      .to.be.greaterThan(0)
      .and.lessThan(updates + 1);
  });

  it('end properly when the board stops', async () => {
    const all = await Promise.all((Object.keys(streams) as StreamPath[]).map((path) => follow(path)));
    await caller.board.restart();
    for (const { response, ended } of all) {
      await ended;
      expect(response.complete).to.equal(true);
    }
  });
});

describe('event streams, when there are too many', () => {
  it('are refused, and follow again when others have ended', async () => {
    const board = await startBbs({ config: { max_event_streams: 1 } });
    const url = `${board.url}/v1/events/tasks.r1`;
    const first = await begin(url);
    const { status, body } = await exchange(url);
    expect([status, body.length]).to.deep.equal([503, 0]);
    first.destroy();
    const again = await eventually(async () => {
      const response = await begin(url);
      if (response.statusCode === 200) return response;
      response.resume();
      return undefined;
    });
    again.destroy();
    await board.stop();
  });
});

/** What comes of a stream, and the events in it. */
class RawStream {
  raw = '';
  #seen = 0;
  readonly ended: Promise<unknown>;

  constructor(readonly response: IncomingMessage) {
    this.ended = once(response, 'close');
    response.on('error', () => {});
    response.setEncoding('latin1').on('data', (text: string) => {
      this.raw += text;
    });
  }

  get path(): string {
    return (this.response as unknown as { req: { path: string } }).req.path;
  }

  /** Without signs of life. */
  get text(): string {
    return this.raw.replaceAll(/^:\n\n/gm, '');
  }

  /** Waits until there are so many. @returns all that there are */
  async events(count: number): Promise<RawEvent[]> {
    return eventually(
      () => {
        const events = this.#parse();
        return events.length >= count ? events : undefined;
      },
      { what: `${count} events` },
    );
  }

  /** Waits until so many are there, without reading them. */
  async received(count: number, timeoutMs: number): Promise<void> {
    await eventually(() => this.raw.includes(`id: ${count - 1}\n`, this.#seen) || undefined, {
      what: `event ${count - 1}`,
      timeoutMs,
    });
    this.#seen = this.raw.length;
  }

  ids(): number[] {
    return [...this.raw.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  }

  close(): void {
    this.response.destroy();
  }

  #parse(): RawEvent[] {
    return [...this.text.matchAll(/id: (\d+)\nevent: (\w+)\ndata: (\S+)\n\n/g)].map(([, id, name, data]) => ({
      id: Number(id),
      name: name!,
      data: Buffer.from(data!, 'base64'),
    }));
  }
}

/** Reads to the end of the connection, or gives up on it. */
async function restOf(socket: Socket, head: Buffer): Promise<{ text: string; isEnded: boolean }> {
  const chunks = [head];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ended = once(socket, 'end').then(() => true);
  socket.resume();
  const isEnded = await Promise.race([ended, pause(10_000, false, { ref: false })]);
  return { text: Buffer.concat(chunks).toString('latin1'), isEnded };
}
