import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { encodeFrame } from '../../lib/containers/warden/protocol/framing.js';
import type { RequestFields, RequestName, Response } from '../../lib/containers/warden/protocol/messages.js';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { WardenPeer } from '../support/warden.js';

const mib = 1024 * 1024;
/** As long as a subnet rests after its container. */
const restMs = 5_000;

describe('the Warden protocol of bin/garden', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  const peers: WardenPeer[] = [];

  before(async () => {
    garden = await startGarden();
  });

  after(() => garden.stop());

  afterEach(async () => {
    await Promise.all(peers.splice(0).map((peer) => peer.close()));
    const { handles } = await request('List', {});
    await Promise.all(
      handles.map(async (handle) => {
        await request('Stop', { handle, kill: true }).catch(() => {});
        await request('Destroy', { handle });
      }),
    );
  });

  const text = (value: string) => Buffer.from(value);
  const open = async () => {
    const peer = await WardenPeer.open(garden.wardenSocket);
    peers.push(peer);
    return peer;
  };
  /** One request on a connection of its own. */
  const request = async <Name extends RequestName>(
    type: Name,
    fields: RequestFields<Name>,
  ): Promise<Response<Name>> => {
    const peer = await WardenPeer.open(garden.wardenSocket);
    try {
      return await peer.request(type, fields);
    } finally {
      await peer.close();
    }
  };
  const refusal = async (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error: Error) => error.message,
    );
  const create = async (fields: RequestFields<'Create'> = {}) => (await request('Create', fields)).handle;
  const run = (handle: string, script: string, more: Partial<RequestFields<'Run'>> = {}) =>
    request('Run', { handle, script: text(script), ...more });
  const spawn = async (handle: string, script: string, more: Partial<RequestFields<'Spawn'>> = {}) =>
    (await request('Spawn', { handle, script: text(script), ...more })).jobId;
  const succeeds = (handle: string, script: string) =>
    eventually(async () => ((await run(handle, script)).exitStatus === 0 ? true : undefined));

  it('answers a ping with the same nine bytes, and two at once with both, in order', async () => {
    const peer = await open();
    const ping = Buffer.from('340d0a085b12000d0a', 'hex');
    const received: Buffer[] = [];
    peer.socket.on('data', (piece: Buffer) => received.push(piece));
    peer.socket.write(ping);
    await eventually(() => Buffer.concat(received).length === 9 || undefined);
    peer.socket.write(Buffer.concat([ping, ping]));
    await eventually(() => Buffer.concat(received).length === 27 || undefined);
    expect(Buffer.concat(received)).to.deep.equal(Buffer.concat([ping, ping, ping]));
  });

  it('echoes 100 kB that come byte by byte', async () => {
    const peer = await open();
    const message = Buffer.alloc(100_000, 'ä');
    // Field 1 of the echo, in field 2 of the envelope behind its type.
    const echo = Buffer.concat([Buffer.from([0x0a, 0xa0, 0x8d, 0x06]), message]);
    const envelope = Buffer.concat([Buffer.from([0x08, 0x5d, 0x12, 0xa4, 0x8d, 0x06]), echo]);
    const whole = Buffer.concat([text(`${envelope.length}\r\n`), envelope, text('\r\n')]);
    for (const byte of whole) peer.socket.write(Buffer.of(byte));
    const answer = (await peer.receive('Echo')).message;
    expect(answer.equals(message)).to.equal(true);
  });

  it('closes a connection with a length that is none, and serves the next', async () => {
    for (const garbage of ['what?\r\nx\r\n', '-1\r\n', '99999999999999999999\r\n', '4\r\n\xff\xff\xff\xff\r\n']) {
      const peer = await open();
      peer.socket.write(Buffer.from(garbage, 'latin1'));
      await peer.closed;
      await request('Ping', {});
    }
  });

  it('knows no container and no job that nobody made', async () => {
    expect(await refusal(request('Info', { handle: 'nope' }))).to.equal('unknown handle');
    const handle = await create();
    expect(handle).to.match(/^[0-9a-v]{11}$/);
    expect(await refusal(request('Link', { handle, jobId: 99 }))).to.equal('no such job');
  });

  it('gives a handle once', async () => {
    await create({ handle: 'h' });
    expect(await refusal(create({ handle: 'h' }))).to.equal('container with handle: h already exists.');
    expect((await request('List', {})).handles).to.deep.equal(['h']);
  });

  it('runs a script and tells all of its end', async () => {
    const handle = await create();
    const result = await run(handle, 'echo out; echo err >&2; exit 3');
    expect(result).to.deep.include({ exitStatus: 3, stdout: text('out\n'), stderr: text('err\n') });
    expect(result.info?.state).to.equal('active');
  });

  it('keeps a job whose client is gone for the one who links it, once', async () => {
    const handle = await create();
    const first = await open();
    const script = text('echo before; until [ -e ~/go ]; do sleep 0.05; done; echo after; exit 4');
    const { jobId } = await first.request('Spawn', { handle, script });
    await first.close();
    await run(handle, 'touch ~/go');
    const linked = await request('Link', { handle, jobId });
    expect(linked).to.deep.include({ exitStatus: 4, stdout: text('before\nafter\n') });
    expect(await refusal(request('Link', { handle, jobId }))).to.equal('no such job');
  });

  it('gives two linkers the same answer, and keeps the order of one connection without delaying others', async () => {
    const handle = await create();
    const [slow, one, other] = [await open(), await open(), await open()];
    const jobId = await spawn(handle, 'until [ -e ~/go ]; do sleep 0.05; done; echo both; exit 9');
    one.send('Link', { handle, jobId });
    other.send('Link', { handle, jobId });
    slow.send('Run', { handle, script: text('until [ -e ~/go ]; do sleep 0.05; done; echo slow') });
    slow.send('Ping', {});
    await request('Ping', {});
    await run(handle, 'touch ~/go');
    const [first, second] = await Promise.all([one.receive('Link'), other.receive('Link')]);
    expect(first).to.deep.include({ exitStatus: 9, stdout: text('both\n') });
    expect(second).to.deep.include({ exitStatus: 9, stdout: text('both\n') });
    expect((await slow.receive('Run')).stdout).to.deep.equal(text('slow\n'));
    await slow.receive('Ping');
  });

  it('streams output as it comes, and the end alone at last', async () => {
    const handle = await create();
    const jobId = await spawn(handle, 'for i in 1 2 3; do echo $i; sleep 1; done');
    const peer = await open();
    const begunAt = performance.now();
    const responses = await peer.stream(handle, jobId);
    expect(performance.now() - begunAt).to.be.above(1_900);
    const last = responses.pop();
    expect(last).to.include({ exitStatus: 0 });
    expect(last).not.to.have.any.keys('name', 'data');
    expect(responses).to.have.lengthOf.at.least(3);
    expect(responses.every(({ name }) => name === 'stdout')).to.equal(true);
    expect(Buffer.concat(responses.map(({ data }) => data!)).toString()).to.equal('1\n2\n3\n');
  });

  it('discards output that nobody wants, and ends a job that says too much', async () => {
    const handle = await create();
    const quiet = await spawn(handle, 'echo nothing; exit 2', { discardOutput: true });
    expect(await request('Link', { handle, jobId: quiet })).to.deep.include({ exitStatus: 2, stdout: text('') });
    const loud = await run(handle, `head -c ${11 * mib} /dev/zero; sleep 100`);
    expect(loud.exitStatus).to.equal(255);
    expect(loud.info?.events).to.deep.equal(['command exceeded maximum output']);
  });

  it('stops a container whose job minds no TERM in ten seconds, and lets it be read', async () => {
    const handle = await create();
    const jobId = await spawn(handle, "trap '' TERM; echo kept > ~/kept; while :; do sleep 0.1; done");
    await succeeds(handle, 'test -e ~/kept');
    const begunAt = performance.now();
    await request('Stop', { handle });
    expect(performance.now() - begunAt).to.be.within(9_500, 20_000);
    expect((await request('Link', { handle, jobId })).exitStatus).to.be.oneOf([137, 255]);
    expect(await refusal(spawn(handle, 'true'))).to.equal(
      "Container state must be one of 'active', current state is 'stopped'",
    );
    const kept = `${garden.wardenSocket}.kept`;
    await request('CopyOut', { handle, srcPath: '/home/vcap/kept', dstPath: kept });
    expect(execFileSync('cat', [kept], { encoding: 'utf8' })).to.equal('kept\n');
    rmSync(kept);
  });

  it('stops a container that hits its memory limit, and answers who waits', async () => {
    const handle = await create();
    expect(await request('LimitMemory', { handle, limitInBytes: 32 * mib })).to.deep.equal({ limitInBytes: 32 * mib });
    const waiting = run(handle, 'sleep 1000');
    const { exitStatus } = await run(handle, `exec perl -e '$x = "x" x (64 * 1024 * 1024); sleep 100'`);
    expect(exitStatus).to.equal(137);
    const linked = await waiting;
    expect(linked.exitStatus).to.be.above(127);
    expect(linked.info?.events).to.deep.equal(['out of memory']);
    const info = await request('Info', { handle });
    expect(info).to.deep.include({ state: 'stopped', events: ['out of memory'] });
  });

  it('destroys a container when its grace time is over, but not under the eyes of a connection', async () => {
    const [owner, idle] = [await open(), await open()];
    await owner.request('Create', { handle: 'gone', graceTime: 1 });
    await owner.request('Create', { handle: 'held', graceTime: 1 });
    await idle.request('Info', { handle: 'held' });
    await owner.close();
    // A new connection would refer to both.
    await eventually(async () => {
      const { handles } = await idle.request('List', {});
      return handles.length === 1 ? expect(handles).to.deep.equal(['held']) && true : undefined;
    });
    await idle.request('Info', { handle: 'held' });
  });

  it('maps the same port inside and out, and lets a subnet rest before it comes again', async () => {
    const first = await create();
    const { containerIp } = await request('Info', { handle: first });
    const { hostPort, containerPort } = await request('NetIn', { handle: first });
    expect(hostPort).to.equal(containerPort);
    expect(hostPort).to.be.within(garden.portPool.start, garden.portPool.start + garden.portPool.size - 1);
    await request('Destroy', { handle: first });
    const destroyedAt = performance.now();
    while (performance.now() - destroyedAt < restMs - 1_500) {
      const handle = await create();
      const { containerIp: next } = await request('Info', { handle });
      if (performance.now() - destroyedAt < restMs) expect(next).not.to.equal(containerIp);
      await request('Destroy', { handle });
    }
  });

  it('limits the disk, and tells it in all its fields', async () => {
    const handle = await create();
    const limits = await request('LimitDisk', { handle, byte: 10 * mib });
    expect(limits).to.include({ byteLimit: 10 * mib, byte: 10 * mib, byteHard: 10 * mib });
    expect(Object.keys(limits)).to.have.lengthOf(12);
    expect((await run(handle, 'dd if=/dev/zero of=big bs=1M count=20')).exitStatus).not.to.equal(0);
    expect((await request('Info', { handle })).diskStat?.bytesUsed).to.be.within(9 * mib, 11 * mib);
  });

  it('refuses a request without a handler by its name, and goes on', async () => {
    const peer = await open();
    peer.socket.write(encodeFrame(Buffer.from([0x08, 0x01, 0x12, 0x00])));
    expect(await refusal(peer.receive('Ping'))).to.equal('Unknown request: Error');
    await peer.request('Ping', {});
  });
});
