import { expect } from 'chai';
import { type CliWorld, startCliWorld } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { PlayedBridge } from '../support/played-bridge.js';

describe('isthmus migrate', () => {
  let nats: NatsServer;
  let bridge: PlayedBridge;
  let world: CliWorld;
  let healthManager: NodeJS.Timeout;

  before(async () => {
    nats = await startNats();
    bridge = await PlayedBridge.start();
    const config = { ...bridge.config, find_timeout_in_seconds: 0.1, migration_check_interval_in_seconds: 0.1 };
    world = await startCliWorld({ natsUrl: nats.url, config });
    const { status, error } = await run('push', 'hello', 'spec/fixtures/apps/static', '-i', '2');
    expect({ status, error }).to.deep.equal({ status: 0, error: '' });
  });

  after(async () => {
    clearInterval(healthManager);
    await world?.stop();
    await bridge?.stop();
    await nats?.stop();
  });

  const run = (...args: string[]) => world.isthmus(args);

  /** Orders that all of the app's instances on cells be stopped, as a health manager does of an app on Diego. */
  function orderStops(): void {
    for (const { droplet, version, instance, index } of world.agent.instances) {
      const order = { droplet, version, instance_guid: instance, instance_index: index, is_duplicate: false };
      world.agent.publish('hm9000.stop', order);
    }
  }

  it('wants to know where to', async () => {
    const { status, error } = await run('migrate', 'hello');
    expect(status).not.to.equal(0);
    expect(error).to.contain('--to <side>');
    expect((await run('migrate', 'hello', '--to', 'mars')).error).to.contain('diego, dea');
  });

  it('does nothing when the app is there', async () => {
    expect((await run('migrate', 'hello', '--to', 'dea')).out).to.equal('hello is on the DEA cells already\n');
  });

  it('goes to Diego, and tells of it until the cells have nothing more of it', async () => {
    bridge.startsAs = 'STARTING';
    healthManager = setInterval(orderStops, 50);
    const migration = world.isthmus(['migrate', 'hello', '--to', 'diego'], {
      watch: (out) => {
        if (out.includes('2 on the DEA cells, 0 on Diego, of 2')) bridge.runAll();
      },
    });
    const { status, out } = await migration;
    clearInterval(healthManager);
    expect(status).to.equal(0);
    expect(out.split('\n')).to.include.members([
      'Handing hello over to Diego; it goes on without this command',
      '2 on the DEA cells, 0 on Diego, of 2',
      '0 on the DEA cells, 2 on Diego, of 2',
      'hello is on Diego',
    ]);
    expect((await run('stats', 'hello')).out).to.contain('10.0.16.4:60012');
  });

  it('shows an instance that nobody tells of', async () => {
    bridge.processes.clear();
    expect((await run('app', 'hello')).out).to.match(/#0 +down +-/);
    await bridge.sync(world.cc.url);
    bridge.runAll();
  });

  it('comes back the same way', async () => {
    const { status, out } = await run('migrate', 'hello', '--to', 'dea');
    expect({ status, last: out.trim().split('\n').at(-1) }).to.deep.equal({
      status: 0,
      last: 'hello is on the DEA cells',
    });
    expect(bridge.processes.size).to.equal(0);
  });

  it('ends with an error when the app is stopped, or sent back, meanwhile', async () => {
    bridge.startsAs = 'STARTING';
    const { guid } = await world.record('hello');
    const waiting = (undo: object) => {
      let isUndone = false;
      return world.isthmus(['migrate', 'hello', '--to', 'diego'], {
        watch: (out) => {
          if (isUndone || !out.includes('of 2')) return;
          isUndone = true;
          void world.cc.call('PUT', `/v2/apps/${guid}`, undo);
        },
      });
    };
    expect((await waiting({ diego: false })).error).to.contain('hello has been sent back');
    expect((await waiting({ state: 'STOPPED' })).error).to.contain('hello has been stopped');
    await eventually(() => (world.agent.instances.length === 0 ? true : undefined));
  });

  it('says of a stopped app where its next start is', async () => {
    expect((await run('migrate', 'hello', '--to', 'dea')).out).to.equal(
      'hello is stopped; its next start is on the DEA cells\n',
    );
  });
});
