import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { blockBytes, encodeEntry, endOfArchive, entryTypes } from '../../lib/containers/oci/images/tar/tar-format.js';
import { commandLineOf } from '../../lib/process/identity.js';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, RawConnection, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { tarOf } from '../support/image-layout.js';
import { descendantsOf } from '../support/leaks.js';

const megabyte = 1024 * 1024;
/** `STDIN_BYTES=10000000000` for the long form. */
const stdinBytes = Number(process.env.STDIN_BYTES ?? 100_000_000);
const attachments = 1_000;
/** `ENTRIES=1000000` for the long form. */
const entries = Number(process.env.ENTRIES ?? 10_000);

/** What follows the head of an answer, counted and hashed at the pace that is asked for, and not kept. */
class Meter {
  readonly #hash = createHash('sha256');
  readonly #socket: Socket;
  #head = '';
  #length = 0;
  #hasEnded = false;

  constructor(socketPath: string, head: string) {
    this.#socket = connect(socketPath);
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.#hasEnded = true;
    });
    this.#socket.on('data', (bytes) => this.#take(bytes));
    this.#socket.write(`${head} HTTP/1.1\r\nHost: api\r\n\r\n`);
  }

  get length(): number {
    return this.#length;
  }

  async digest(timeoutMs = 120_000): Promise<string> {
    await eventually(() => this.#hasEnded || undefined, { timeoutMs, what: 'the end of an output' });
    return this.#hash.digest('hex');
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    if (!this.#head.includes('\r\n\r\n')) {
      const text = this.#head + bytes.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      this.#head = text;
      if (end < 0) return;
      this.#take(Buffer.from(text.slice(end + 4), 'latin1'));
      return;
    }
    this.#length += bytes.length;
    this.#hash.update(bytes);
  }
}

describe('clients of bin/garden that ask much, or leave', function () {
  this.timeout(600_000);
  let garden: GardenProcess;
  let client: GardenClient;

  before(async () => {
    garden = await startGarden();
    client = new GardenClient(garden.socket);
  });

  after(() => garden.stop());

  beforeEach(() => client.create({ handle: 'c' }));

  afterEach(() => client.destroyAll());

  const memoryOf = (pid: number) =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
  /** The most that the server takes more while something is going on. */
  const growthDuring = async (work: () => Promise<void>) => {
    const before = memoryOf(garden.pid);
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, memoryOf(garden.pid));
    }, 50);
    try {
      await work();
    } finally {
      clearInterval(timer);
    }
    return most - before;
  };

  it(`are ${attachments} at one process, and get all of its output and its status`, async () => {
    const output = 'seq 1 20000';
    const first = await client.run('c', { path: 'sh', args: ['-c', `read -r go; ${output}; exit 9`], id: 'p' });
    const expected = createHash('sha256');
    for (let number = 1; number <= 20_000; number += 1) expected.update(`${number}\n`);
    const digest = expected.digest('hex');
    const conversations: RawConnection[] = [];
    const meters: Meter[] = [];
    const growth = await growthDuring(async () => {
      for (let index = 0; index < attachments; index += 50) {
        const group = await Promise.all(Array.from({ length: 50 }, () => client.attach('c', 'p')));
        for (const conversation of group) {
          const { stream_id: stream } = conversation.payloads[0]!;
          meters.push(new Meter(garden.socket, `GET /containers/c/processes/p/attaches/${stream}/stdout`));
        }
        conversations.push(...group);
      }
      first.send('{"source":0,"data":"go\\n"}');
      const digests = await Promise.all(meters.map((meter) => meter.digest()));
      expect(digests.filter((one) => one !== digest)).to.deep.equal([]);
      for (const conversation of [first, ...conversations]) {
        expect((await conversation.ended(60_000)).payloads.at(-1)).to.include({ exit_status: 9 });
      }
    });
    // Half a megabyte each, output included.
    expect(growth / megabyte).to.be.below(500);
  });

  it(`send ${stdinBytes / 1e6} MB of input through the server without filling it`, async () => {
    const conversation = await client.run('c', { path: 'wc', args: ['-c'], id: 'wc' });
    const stdout = await client.output('c', conversation, 'stdout');
    const piece = 'x'.repeat(100_000);
    const payload = Buffer.from(`${JSON.stringify({ source: 0, data: piece })}\n`);
    const growth = await growthDuring(async () => {
      for (let sent = 0; sent < stdinBytes; sent += piece.length) {
        if (conversation.socket.write(payload)) continue;
        await new Promise((resolve) => conversation.socket.once('drain', resolve));
      }
      conversation.send('{"source":0}');
      await stdout.ended(120_000);
    });
    expect(stdout.rest).to.equal(`${Math.ceil(stdinBytes / piece.length) * piece.length}\n`);
    expect((await conversation.ended()).payloads.at(-1)).to.include({ exit_status: 0 });
    expect(growth / megabyte).to.be.below(150);
  });

  it('read slowly what never ends, and do not fill the server', async () => {
    const conversation = await client.run('c', { path: 'yes', id: 'yes' });
    const { stream_id: stream } = conversation.payloads[0]!;
    const directory = join(garden.depot, '@output/c/yes');
    const log = join(directory, 'log');
    const kept = () => readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
    const meter = new Meter(garden.socket, `GET /containers/c/processes/yes/attaches/${stream}/stdout`);
    const growth = await growthDuring(async () => {
      for (let round = 1; round <= 5; round += 1) {
        meter.resume();
        await eventually(() => meter.length > round * 100_000 || undefined);
        meter.pause();
        // The log has begun anew: more was said than a log holds.
        const { ino } = await eventually(() => statSync(log, { throwIfNoEntry: false }));
        const hasBegunAnew = () => statSync(log, { throwIfNoEntry: false })?.ino !== ino || undefined;
        await eventually(hasBegunAnew, { timeoutMs: 60_000 });
      }
    });
    expect(kept()).to.be.below(34 * megabyte);
    expect(growth / megabyte).to.be.below(150);
    conversation.send('{"signal":1}');
    meter.resume();
    expect((await conversation.ended(30_000)).payloads.at(-1)).to.include({ exit_status: 137 });
    meter.close();
  });

  it(`stream in an archive of ${entries} entries without filling the server`, async () => {
    const connection = await RawConnection.open(garden.socket);
    const head = 'PUT /containers/c/files?user=root&destination=/tmp/many HTTP/1.1';
    connection.send(`${head}\r\nHost: api\r\nContent-Length: ${entries * blockBytes + endOfArchive.length}\r\n\r\n`);
    const common = { linkName: '', type: entryTypes.file, mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0 };
    const growth = await growthDuring(async () => {
      for (let index = 0; index < entries; index += 1) {
        const name = `${index % 1_000}/${index}`;
        const header = encodeEntry({ ...common, name, deviceMajor: 0, deviceMinor: 0 });
        if (connection.socket.write(header)) continue;
        await new Promise((resolve) => connection.socket.once('drain', resolve));
      }
      connection.send(endOfArchive);
      await connection.until(({ rest }) => rest.endsWith('}\n'), 500_000);
    });
    expect(connection.rest).to.equal('{}\n');
    connection.close();
    expect(growth / megabyte).to.be.below(100);
    const { stdout } = await client.exec('c', 'find /tmp/many -type f | wc -l');
    expect(stdout).to.equal(`${entries}\n`);
  });

  describe('in the middle', () => {
    /** Places of a request at which the connection is cut: all near its beginning, and some of the rest. */
    const places = (length: number) => {
      const near = [0, 1, 10, 50, 100, 200, 300, 400, 511, 512, 513, 600];
      const far = Array.from({ length: 12 }, () => Math.floor(Math.random() * length));
      return [...near, ...far, length - 1, length].filter((place) => place <= length);
    };
    const cutAt = async (bytes: Buffer, place: number) => {
      const connection = await RawConnection.open(garden.socket);
      await new Promise<void>((resolve) => connection.socket.write(bytes.subarray(0, place), () => resolve()));
      connection.close();
    };
    const requestOf = (head: string, body: Buffer) =>
      Buffer.concat([Buffer.from(`${head} HTTP/1.1\r\nHost: api\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
    /** No program that moves files is at work for the server, and no runtime. */
    const untilQuiet = () =>
      eventually(
        () => {
          const commands = descendantsOf(garden.pid).map((pid) => commandLineOf(pid).join(' '));
          expect(commands.filter((command) => /nsenter|busybox|\btar\b|crun|runc/.test(command))).to.deep.equal([]);
          return true;
        },
        { timeoutMs: 20_000 },
      );

    it('of a stream in, leave no extraction behind, wherever they leave', async () => {
      const tar = await tarOf([
        { name: 'a', content: 'a'.repeat(700) },
        { name: 'b', content: 'b'.repeat(200_000) },
        { name: 'c', content: 'c' },
      ]);
      const request = requestOf('PUT /containers/c/files?user=root&destination=/tmp/in', tar);
      await Promise.all(places(request.length).map((place) => cutAt(request, place)));
      await untilQuiet();
      // One of those that were cut off may begin only now, and end by writing less.
      await eventually(async () => {
        expect((await client.streamIn('c', { destination: '/tmp/in' }, tar)).status).to.equal(200);
        expect(await client.read('c', 'cat /tmp/in/* | wc -c')).to.equal('200701\n');
        return true;
      });
    });

    it('of a stream out, leave no archiver behind, wherever they leave', async () => {
      await client.read('c', 'mkdir /tmp/out; head -c 3000000 /dev/urandom > /tmp/out/random');
      const head = Buffer.from('GET /containers/c/files?user=root&source=/tmp/out HTTP/1.1\r\nHost: api\r\n\r\n');
      const leaveAfter = async (length: number) => {
        const connection = await RawConnection.open(garden.socket);
        connection.send(head);
        await connection.until((one) => one.length >= length || one.hasEnded);
        connection.close();
      };
      await Promise.all([0, 1, 100, 600, 5_000, 65_536, 1_000_000, 2_999_999].map(leaveAfter));
      await Promise.all(places(head.length).map((place) => cutAt(head, place)));
      await untilQuiet();
      const { status, bytes } = await client.streamOut('c', { source: '/tmp/out' });
      expect({ status, isWhole: bytes.length > 3_000_000 }).to.deep.equal({ status: 200, isWhole: true });
    });

    it('of a run, start a process or none, and never half a one', async () => {
      const body = Buffer.from(JSON.stringify({ path: 'sh', args: ['-c', 'cat; exit 5'], user: 'root' }));
      const request = requestOf('POST /containers/c/processes', body);
      await Promise.all(places(request.length).map((place) => cutAt(request, place)));
      // What was started sees the end of its input, and ends.
      await eventually(async () => (await client.info('c')).ProcessIDs === null || undefined, { timeoutMs: 30_000 });
      await untilQuiet();
      expect((await client.exec('c', 'exit 3')).status).to.equal(3);
      expect((await client.handles()).length).to.equal(1);
    });
  });
});
