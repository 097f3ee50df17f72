import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { RequestFields } from '../../../lib/containers/warden/protocol/messages.js';
import { eventually } from '../../support/eventually.js';
import { readJobSocket } from '../../support/job-socket.js';
import { WardenSubject } from '../../support/warden.js';
import { failureOf } from '../engine-contract.js';

const mib = 1024 * 1024;

describe('jobs of a Warden server', function () {
  this.timeout(60_000);
  let warden: WardenSubject;
  let handle: string;

  before(async () => {
    warden = await WardenSubject.start({ rlimits: { nofile: 333, core: 0 }, language: 'C.UTF-8' });
  });

  after(() => warden.dispose());

  beforeEach(async () => {
    ({ handle } = await warden.request('Create', {}));
  });

  afterEach(async () => {
    await warden.closePeers();
    await warden.request('Stop', { handle, kill: true });
    await warden.request('Destroy', { handle });
  });

  const text = (value: string) => Buffer.from(value);
  const refusal = async (promise: Promise<unknown>) => ((await failureOf(promise)) as Error).message;
  const run = (script: string, more: Partial<RequestFields<'Run'>> = {}) =>
    warden.request('Run', { handle, script: text(script), ...more });
  const spawn = async (script: string, more: Partial<RequestFields<'Spawn'>> = {}) =>
    (await warden.request('Spawn', { handle, script: text(script), ...more })).jobId;
  const link = (jobId: number) => warden.request('Link', { handle, jobId });

  it('give output and exit status, and how their container is', async () => {
    const result = await run('echo out; echo err >&2; exit 3');
    expect(result).to.deep.include({ exitStatus: 3, stdout: text('out\n'), stderr: text('err\n') });
    expect(result.info?.state).to.equal('active');
  });

  it('run as vcap in its home, or as root', async () => {
    const script = 'id -un; pwd; echo $HOME $USER $LANG $PATH; ulimit -n; ulimit -Hn; ulimit -c; echo $-';
    expect((await run(script)).stdout?.toString()).to.equal(
      'vcap\n/home/vcap\n/home/vcap vcap C.UTF-8 /usr/local/bin:/usr/bin:/bin\n333\n333\n0\nhBs\n',
    );
    const { stdout } = await run(script, { privileged: true, rlimits: { nofile: 444 } });
    expect(stdout?.toString()).to.equal(
      'root\n/root\n/root root C.UTF-8 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n444\n444\n0\nhBs\n',
    );
  });

  it('read their script as bytes, and say bytes', async () => {
    const script = Buffer.concat([text("printf '\\0'; printf '"), Buffer.from([0xff, 0xc3, 0x28]), text("'")]);
    const { stdout } = await warden.request('Run', { handle, script });
    expect(stdout).to.deep.equal(Buffer.from([0, 0xff, 0xc3, 0x28]));
  });

  it('outlive the connection that spawned them, and give their result once', async () => {
    const jobId = await spawn('echo out; exit 5');
    expect(await link(jobId)).to.deep.include({ exitStatus: 5, stdout: text('out\n'), stderr: text('') });
    expect(await refusal(link(jobId))).to.equal('no such job');
    expect(await refusal(link(99_999))).to.equal('no such job');
    expect(await refusal(warden.request('Stream', { handle, jobId: 99_999 }))).to.equal('no such job');
  });

  it('have numbers that go on for the whole server', async () => {
    const first = await spawn('true');
    const { handle: other } = await warden.request('Create', {});
    expect((await warden.request('Spawn', { handle: other, script: text('true') })).jobId).to.equal(first + 1);
    await warden.request('Destroy', { handle: other });
  });

  it('answer all who link them before they end', async () => {
    const jobId = await spawn('echo out; while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 4');
    const peers = [await warden.open(), await warden.open()];
    for (const peer of peers) peer.send('Link', { handle, jobId });
    expect((await warden.request('Info', { handle })).jobIds).to.deep.equal([jobId]);
    await run('touch /tmp/go');
    for (const peer of peers) {
      expect(await peer.receive('Link')).to.deep.include({ exitStatus: 4, stdout: text('out\n') });
    }
    expect((await warden.request('Info', { handle })).jobIds).to.deep.equal([]);
  });

  it('are not lost with one who linked them and left', async () => {
    const jobId = await spawn('echo out; while [ ! -e /tmp/go ]; do sleep 0.05; done');
    const peer = await warden.open();
    peer.send('Link', { handle, jobId });
    await warden.request('Ping', {});
    await peer.close();
    await run('touch /tmp/go');
    expect((await link(jobId)).stdout).to.deep.equal(text('out\n'));
  });

  it('stream what they say when they say it, and at last only their exit status', async () => {
    const jobId = await spawn(
      'echo early; for i in 1 2 3; do while [ ! -e /tmp/$i ]; do sleep 0.02; done; echo $i; done',
    );
    const peer = await warden.open();
    peer.send('Stream', { handle, jobId });
    expect(await peer.receive('Stream')).to.deep.equal({ name: 'stdout', data: text('early\n') });
    for (const number of ['1', '2', '3']) {
      await run(`touch /tmp/${number}`);
      expect(await peer.receive('Stream')).to.deep.equal({ name: 'stdout', data: text(`${number}\n`) });
    }
    const { exitStatus, info, ...nothingElse } = await peer.receive('Stream');
    expect(exitStatus).to.equal(0);
    expect(info?.state).to.equal('active');
    expect(nothingElse).to.deep.equal({});
    expect(await refusal(link(jobId))).to.equal('no such job');
  });

  it('stream to several, and both outputs by name', async () => {
    const jobId = await spawn('echo out; echo err >&2; while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 6');
    const streams = [await warden.open(), await warden.open()].map((peer) => peer.stream(handle, jobId));
    await run('touch /tmp/go');
    for (const responses of await Promise.all(streams)) {
      expect(responses.at(-1)?.exitStatus).to.equal(6);
      const said = Object.fromEntries(responses.slice(0, -1).map(({ name, data }) => [name, data?.toString()]));
      expect(said).to.deep.equal({ stdout: 'out\n', stderr: 'err\n' });
    }
  });

  it('give no output when it is discarded', async () => {
    const jobId = await spawn('echo out; echo err >&2; exit 7', { discardOutput: true });
    expect(await link(jobId)).to.deep.include({ exitStatus: 7, stdout: text(''), stderr: text('') });
    const streamed = await spawn('echo out; exit 8', { discardOutput: true });
    const responses = await (await warden.open()).stream(handle, streamed);
    expect(responses.map(({ exitStatus }) => exitStatus)).to.deep.equal([8]);
  });

  describe('whose output is discarded', () => {
    const socketOf = async (jobId: number, name = 'stdout') =>
      join((await warden.request('Info', { handle })).containerPath!, 'jobs', String(jobId), `${name}.sock`);

    it('give it on sockets, as programs beside a DEA read it, until they end', async () => {
      const script = 'echo one; echo oops >&2; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 3';
      const jobId = await spawn(script, { discardOutput: true });
      const [out, err] = [
        await readJobSocket(await socketOf(jobId)),
        await readJobSocket(await socketOf(jobId, 'stderr')),
      ];
      await eventually(() => out.text === 'one\n' || undefined);
      await run('touch go');
      expect(await link(jobId)).to.deep.include({ exitStatus: 3, stdout: text(''), stderr: text('') });
      await eventually(() => (out.hasEnded && err.hasEnded) || undefined);
      expect([out.position, out.text, err.position, err.text]).to.deep.equal([0, 'one\ntwo\n', 0, 'oops\n']);
      await eventually(async () => !existsSync(await socketOf(jobId)) || undefined);
    });

    it('go on at their position after a restart of the server, with what came meanwhile', async () => {
      const script = 'echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; sleep 100';
      const jobId = await spawn(script, { discardOutput: true });
      const before = await readJobSocket(await socketOf(jobId));
      await eventually(() => before.text === 'one\n' || undefined);
      await warden.restart();
      expect(before.hasEnded).to.equal(true);
      await run('touch go');
      const after = await readJobSocket(await socketOf(jobId));
      await eventually(() => after.text === 'two\n' || undefined);
      expect(after.position).to.equal('one\n'.length);
      after.close();
    });

    it('tell their exit status after a restart of the server', async () => {
      const jobId = await spawn('exit 7', { discardOutput: true });
      await eventually(async () => !existsSync(await socketOf(jobId)) || undefined);
      await warden.restart();
      expect(await link(jobId)).to.deep.include({ exitStatus: 7 });
    });
  });

  it('give all of their output, also in very short lines', async () => {
    const { stdout } = await run('seq 1 200000');
    expect(stdout?.length).to.equal(1_288_895);
    expect(stdout?.subarray(0, 4)).to.deep.equal(text('1\n2\n'));
  });

  it('are ended when they say more than is allowed', async () => {
    const result = await run(`head -c ${11 * mib} /dev/zero; sleep 100`);
    expect(result.exitStatus).to.equal(255);
    expect(result.info?.events).to.deep.equal(['command exceeded maximum output']);
    expect(result.info?.state).to.equal('active');
    expect((await warden.request('Info', { handle })).events).to.deep.equal(['command exceeded maximum output']);
  });

  it('end with 128 and the signal that ended them', async () => {
    expect((await run('kill -KILL $$')).exitStatus).to.equal(137);
    expect((await run('kill -TERM $$')).exitStatus).to.equal(143);
  });

  it('are found again after a restart: their number, output, exit status and what was decided about them', async () => {
    await run('true');
    const running = await spawn('echo before; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo after; exit 9');
    const ended = await spawn('echo said; exit 10');
    const silent = await spawn('echo lost; exit 11', { discardOutput: true });
    await eventually(async () => {
      const { jobIds } = await warden.request('Info', { handle });
      return jobIds.length === 1 ? true : undefined;
    });
    await warden.restart();

    expect((await warden.request('List', {})).handles).to.deep.equal([handle]);
    expect(await spawn('true')).to.equal(silent + 1);
    expect((await warden.request('Info', { handle })).jobIds).to.include(running);
    expect(await link(ended)).to.deep.include({ exitStatus: 10, stdout: text('said\n') });
    expect(await link(silent)).to.deep.include({ exitStatus: 11, stdout: text('') });
    await run('touch /tmp/go');
    expect(await link(running)).to.deep.include({ exitStatus: 9, stdout: text('before\nafter\n') });
    expect(await refusal(link(ended))).to.equal('no such job');
  });

  it('are not forgotten as too talkative by a restart', async () => {
    const jobId = await spawn(`head -c ${11 * mib} /dev/zero; sleep 100`, { privileged: true });
    await eventually(async () => {
      const { events } = await warden.request('Info', { handle });
      return events.length > 0 ? true : undefined;
    });
    await warden.restart();
    expect((await warden.request('Info', { handle })).events).to.deep.equal(['command exceeded maximum output']);
    expect((await link(jobId)).exitStatus).to.equal(255);
  });
});
