import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { WardenPeer } from '../support/warden.js';

describe('bin/garden, when it drains', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let client: GardenClient;
  const peers: WardenPeer[] = [];

  beforeEach(async () => {
    garden = await startGarden();
    client = new GardenClient(garden.socket);
  });

  afterEach(async () => {
    await Promise.all(peers.splice(0).map((peer) => peer.close()));
    await garden.stop();
  });

  const open = async () => {
    const peer = await WardenPeer.open(garden.wardenSocket);
    peers.push(peer);
    return peer;
  };

  it('lets those go at once who are idle or wait, and others after their answer; all lives on', async () => {
    const [idle, linking, stopping] = [await open(), await open(), await open()];
    await idle.request('Create', { handle: 'job' });
    const script = Buffer.from('until [ -e ~/go ]; do sleep 0.05; done; echo done; exit 3');
    const { jobId } = await idle.request('Spawn', { handle: 'job', script });
    await idle.request('Create', { handle: 'stubborn' });
    await idle.request('Run', {
      handle: 'stubborn',
      script: Buffer.from(
        "(trap '' TERM; touch ~/up; while :; do sleep 0.05; done) </dev/null >/dev/null 2>&1 & until [ -e ~/up ]; do sleep 0.05; done",
      ),
    });
    await client.create({ handle: 'of-garden' });
    linking.send('Link', { handle: 'job', jobId });
    stopping.send('Stop', { handle: 'stubborn' });
    await eventually(async () => {
      const { state } = await idle.request('Info', { handle: 'stubborn' });
      return state === 'stopped' || undefined;
    });
    const begunAt = performance.now();
    const ended = garden.terminate('SIGUSR2');
    await Promise.all([idle.closed, linking.closed]);
    // The one that is at work has the ten seconds that a stop may take.
    expect(performance.now() - begunAt).to.be.below(6_000);
    await stopping.receive('Stop');
    await stopping.closed;
    expect(await ended).to.equal(0);
    expect(existsSync(garden.wardenSocket)).to.equal(false);

    await garden.start();
    const next = await open();
    expect((await next.request('Info', { handle: 'job' })).jobIds).to.deep.equal([jobId]);
    expect((await next.request('Info', { handle: 'stubborn' })).state).to.equal('stopped');
    await next.request('Run', { handle: 'job', script: Buffer.from('touch ~/go') });
    const result = await next.request('Link', { handle: 'job', jobId });
    expect(result).to.deep.include({ exitStatus: 3, stdout: Buffer.from('done\n') });
    expect((await client.info('of-garden')).State).to.equal('active');
  });

  it('finishes what clients of the Garden API have asked for', async () => {
    await client.create({ handle: 'c' });
    await client.run('c', { path: 'sh', args: ['-c', "trap '' TERM; while :; do sleep 0.05; done"] });
    const stopping = client.call('PUT', '/containers/c/stop', { kill: false });
    await eventually(async () => (await client.info('c')).State === 'stopped' || undefined);
    const ended = garden.terminate('SIGUSR2');
    expect((await stopping).text).to.equal('{}\n');
    expect(await ended).to.equal(0);
    await garden.start();
  });

  it('is cut short by a stop', async () => {
    const peer = await open();
    await peer.request('Create', { handle: 'stubborn' });
    const script = "trap '' TERM; touch ~/up; while :; do sleep 0.05; done";
    await peer.request('Spawn', { handle: 'stubborn', script: Buffer.from(script) });
    const up = Buffer.from('until [ -e ~/up ]; do sleep 0.05; done');
    await peer.request('Run', { handle: 'stubborn', script: up });
    peer.send('Stop', { handle: 'stubborn' });
    const looking = await open();
    await eventually(async () => {
      const { state } = await looking.request('Info', { handle: 'stubborn' });
      return state === 'stopped' || undefined;
    });
    const drained = garden.terminate('SIGUSR2');
    await looking.closed;
    expect(peer.socket.closed).to.equal(false);
    const stopped = garden.terminate('SIGTERM');
    await peer.closed;
    expect(await Promise.all([drained, stopped])).to.deep.equal([0, 0]);
    await garden.start();
  });
});
