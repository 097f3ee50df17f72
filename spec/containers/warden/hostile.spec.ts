import { expect } from 'chai';
import { encodeFrame } from '../../../lib/containers/warden/protocol/framing.js';
import { eventually } from '../../support/eventually.js';
import { WardenSubject } from '../../support/warden.js';
import { failureOf } from '../engine-contract.js';

const mib = 1024 * 1024;

describe('a Warden server and those who mean it no good', function () {
  this.timeout(60_000);
  let warden: WardenSubject;
  let handle: string;

  before(async () => {
    warden = await WardenSubject.start({ maximumRequestBytes: 200_000, jobOutputLimit: 64 * mib });
    ({ handle } = await warden.request('Create', { handle: 'victim' }));
  });

  after(() => warden.dispose());

  afterEach(async () => {
    await warden.closePeers();
    expect((await warden.request('Info', { handle })).state).to.equal('active');
  });

  const hex = (text: string) => Buffer.from(text, 'hex');
  const message = (type: number, content: string) =>
    Buffer.concat([hex('08'), Buffer.from([type]), hex('12'), Buffer.from([content.length / 2]), hex(content)]);

  it('closes connections on garbage, huge lengths, unreadable messages and unknown types', async () => {
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from('99999999999999999999\r\n'),
      Buffer.from('200001\r\n'),
      Buffer.from('4\r\nabcdefgh'),
      encodeFrame(Buffer.from('no message')),
      encodeFrame(Buffer.alloc(0)),
      encodeFrame(hex('085b')),
      encodeFrame(message(77, '')),
    ];
    for (const bytes of garbage) {
      const peer = await warden.open();
      peer.socket.write(bytes);
      await peer.closed;
    }
  });

  it('still answers what came before the garbage', async () => {
    const peer = await warden.open();
    peer.socket.write(Buffer.concat([encodeFrame(message(91, '')), encodeFrame(message(91, '')), Buffer.from('x')]));
    await peer.receive('Ping');
    await peer.receive('Ping');
    await peer.closed;
  });

  it('answers with an error what is no request, lacks a field or cannot be', async () => {
    const peer = await warden.open();
    const answers: [Buffer, string][] = [
      [message(1, ''), 'Unknown request: Error'],
      [message(14, ''), "InfoRequest: missing required 'handle'"],
      [message(14, '0a00'), 'InfoRequest: handle'],
      [message(22, '0a0168'), "LinkRequest: missing required 'jobId'"],
      [message(14, 'ff'), 'InfoRequest'],
      [message(14, '0a7f68'), 'InfoRequest'],
    ];
    for (const [payload, text] of answers) {
      peer.socket.write(encodeFrame(payload));
      expect(((await failureOf(peer.receive('Info'))) as Error).message).to.include(text);
    }
    await peer.request('Ping', {});
  });

  it('answers text that comes byte by byte', async () => {
    const peer = await warden.open();
    peer.socket.setNoDelay(true);
    const text = Buffer.alloc(100_000, 'echo');
    const inner = Buffer.concat([hex('0aa08d06'), text]);
    const length = Buffer.from([0xa4, 0x8d, 0x06]);
    const frame = encodeFrame(Buffer.concat([hex('085d12'), length, inner]));
    for (let offset = 0; offset < frame.length; offset += 1) {
      if (!peer.socket.write(frame.subarray(offset, offset + 1))) {
        await new Promise((resolve) => peer.socket.once('drain', resolve));
      }
    }
    expect((await peer.receive('Echo')).message).to.deep.equal(text);
  });

  it('does not mind half frames and sudden ends, also in the middle of its own work', async () => {
    const { jobId } = await warden.request('Spawn', { handle, script: Buffer.from('sleep 100') });
    const beginnings = [
      (write: (bytes: Buffer) => void) => write(Buffer.from('100\r\nhalf')),
      (write: (bytes: Buffer) => void) => write(Buffer.from('1')),
    ];
    for (const begin of beginnings) {
      const peer = await warden.open();
      begin((bytes) => peer.socket.write(bytes));
      await peer.close();
    }
    const script = Buffer.from('echo x; exit 1');
    for (const type of ['Link', 'Stream'] as const) {
      const peer = await warden.open();
      peer.send(type, { handle, jobId });
      await peer.close();
    }
    const peer = await warden.open();
    peer.send('Run', { handle, script });
    peer.send('Create', { handle: 'orphan' });
    await peer.close();
    // The job that nobody waits for any more is forgotten, the others are not.
    await eventually(async () => ((await warden.request('Info', { handle })).jobIds.length === 1 ? true : undefined));
    await warden.request('Stop', { handle: 'orphan', kill: true }).catch(() => {});
    await warden.request('Destroy', { handle: 'orphan' }).catch(() => {});
    await warden.request('Run', { handle, script: Buffer.from('kill $(pgrep sleep)') });
    expect((await warden.request('Link', { handle, jobId })).exitStatus).to.equal(143);
  });

  it('serves two hundred connections at once', async () => {
    const peers = await Promise.all(Array.from({ length: 200 }, () => warden.open()));
    for (const [index, peer] of peers.entries()) {
      peer.send('Echo', { message: Buffer.from(String(index)) });
      peer.send('Info', { handle });
    }
    for (const [index, peer] of peers.entries()) {
      expect((await peer.receive('Echo')).message.toString()).to.equal(String(index));
      expect((await peer.receive('Info')).state).to.equal('active');
    }
  });

  it('reads no faster from a client than that reads the answers', async () => {
    const peer = await warden.open();
    peer.socket.pause();
    const before = process.memoryUsage().rss;
    const request = encodeFrame(Buffer.concat([hex('085d12a48d06'), hex('0aa08d06'), Buffer.alloc(100_000)]));
    let sent = 0;
    while (sent < 400 && peer.socket.write(request)) sent += 1;
    for (; sent < 400; sent += 1) peer.socket.write(request);
    await warden.request('Ping', {});
    // What is held lies in this process as well: on the sending side, forty megabytes.
    expect(process.memoryUsage().rss - before).to.be.below(150 * mib);
    peer.socket.resume();
    for (let count = 0; count < 400; count += 1) await peer.receive('Echo');
  });

  it('takes no more than it can hold of empty frames behind a request that takes its time', async () => {
    const peer = await warden.open();
    peer.send('Run', { handle, script: Buffer.from('while [ ! -e /tmp/go ]; do sleep 0.05; done') });
    const flood = Buffer.alloc(20 * mib, '0\r\n\r\n');
    const before = process.memoryUsage().rss;
    expect(peer.socket.write(flood)).to.equal(false);
    await warden.request('Run', { handle, script: Buffer.from('touch /tmp/go') });
    expect((await peer.receive('Run')).exitStatus).to.equal(0);
    expect(process.memoryUsage().rss - before).to.be.below(100 * mib);
    await peer.closed;
  });

  it('holds no more of an endless stream than a job may say, however slow its reader is', async () => {
    const { jobId } = await warden.request('Spawn', { handle, script: Buffer.from('exec yes "$(seq -s " " 2000)"') });
    const peer = await warden.open();
    peer.send('Stream', { handle, jobId });
    await peer.receive('Stream');
    peer.socket.pause();
    const before = process.memoryUsage().rss;
    await eventually(async () => ((await warden.request('Info', { handle })).events.length > 0 ? true : undefined), {
      timeoutMs: 30_000,
    });
    expect(process.memoryUsage().rss - before).to.be.below(250 * mib);
    peer.socket.resume();
    for (;;) {
      const { exitStatus } = await peer.receive('Stream');
      if (exitStatus === undefined) continue;
      expect(exitStatus).to.equal(255);
      break;
    }
  });
});
