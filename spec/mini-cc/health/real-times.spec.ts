import { expect } from 'chai';
import { basicAuthorization } from '../../../lib/http/url.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { HealthManagerProgram } from '../../support/health-manager-program.js';
import { bulkCredentials, internalCredentials, type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { freeTcpPort, type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer, type Received } from '../../support/peer.js';
import { waitsRealTimes } from '../../support/variants.js';

/** Seconds by which an order may be late: a pass comes every ten, and whole seconds are counted. */
const slack = 13;

/**
 * `bin/hm9000` with its usual times, and real cells: what docs/protocol/health-manager.md §1 says that the constants add
 * up to, by the clock on the wall. It takes some five minutes, nearly all of them waiting: `EVERY_VARIANT=1`.
 */
if (waitsRealTimes) {
  describe('a health manager with its usual times', function () {
    this.timeout(600_000);
    let nats: NatsServer;
    let peer: Peer;
    let cc: RunningMiniCc;
    let health: HealthManagerProgram;
    let cells: [Cell, Cell];

    before(async () => {
      nats = await startNats();
      peer = await Peer.connect(nats.url);
      const controllerPort = await freeTcpPort();
      health = await HealthManagerProgram.create({
        natsPort: nats.port,
        controllerUrl: `http://127.0.0.1:${controllerPort}`,
        config: {
          heartbeat_period_in_seconds: 10,
          listener_heartbeat_sync_interval_in_milliseconds: 1000,
          cc_auth_user: bulkCredentials.user,
          cc_auth_password: bulkCredentials.password,
          api_server_username: internalCredentials.user,
          api_server_password: internalCredentials.password,
        },
      });
      cc = await startMiniCc({
        natsUrl: nats.url,
        config: {
          external_port: controllerPort,
          hm9000: { url: `http://127.0.0.1:${health.ports.api}` },
          buildpacks: [{ name: 'procfile', path: 'spec/fixtures/buildpacks/procfile-buildpack' }],
          staging: { timeout_in_seconds: 60, minimum_staging_memory_mb: 256, minimum_staging_disk_mb: 512 },
        },
      });
      const intervals = { advertise: 5, heartbeat: 10 };
      cells = await Promise.all([
        makeCell({ natsUrl: nats.url, config: { index: 0, intervals } }),
        makeCell({ natsUrl: nats.url, config: { index: 1, intervals } }),
      ]);
      await Promise.all(cells.map((cell) => cell.start()));
      await eventually(() => (cc.miniCc.cellIds.length === 2 ? true : undefined), { what: 'both cells' });
      health.start();
    });

    after(async () => {
      await health?.dispose();
      await cc?.stop();
      await Promise.all((cells ?? []).map((cell) => cell.dispose()));
      await peer?.close();
      await nats?.stop();
    });

    async function push(name: string, instances: number): Promise<string> {
      const fields = { name, instances, routes: [`${name}.example.com`], memory: 64, disk_quota: 128 };
      const { guid } = (await cc.call('POST', '/v2/apps', fields)).body;
      await cc.uploadBits(guid, `spec/fixtures/apps/${name}`);
      expect((await cc.call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' })).status).to.equal(201);
      return guid;
    }

    const orders = (app: string, since = 0): Received[] =>
      peer.received.slice(since).filter(({ subject, data }) => subject.startsWith('hm9000.') && data.droplet === app);
    const untilOrders = (app: string, { count, seconds, since }: { count: number; seconds: number; since?: number }) =>
      eventually(
        () => {
          const found = orders(app, since);
          return found.length >= count ? found : undefined;
        },
        { timeoutMs: seconds * 1000, what: `${count} orders for an app` },
      );
    /** Waits for the health manager's next fetch: before it orders stops of a new app, which the Cloud Controller ignores. */
    const untilDesired = (app: string) =>
      eventually(
        async () => {
          const { version } = (await cc.call('GET', `/v2/apps/${app}`)).body;
          const answer = await fetch(`http://127.0.0.1:${health.ports.api}/bulk_app_state`, {
            method: 'POST',
            headers: { authorization: basicAuthorization(internalCredentials) },
            body: JSON.stringify([{ droplet: app, version }]),
          });
          const states = (await answer.json()) as Record<string, Message>;
          return states[app]?.desired.instances === 2 || undefined;
        },
        { timeoutMs: 90_000, what: 'a fetch of the desired state' },
      );
    const untilRunning = (app: string, count: number, fits = (_found: Message[]) => true) =>
      eventually(
        async () => {
          const question = { droplet: app, states: ['RUNNING'] };
          const found = await peer.request('dea.find.droplet', question, { count: 9, timeoutMs: 250 });
          return found.length === count && fits(found) ? found : undefined;
        },
        { timeoutMs: 60_000, what: `${count} running instances` },
      );

    it('starts what crashes for ever after 0, 40, 80 and 150 seconds', async () => {
      const app = await push('crashing', 1);
      const found = await untilOrders(app, { count: 4, seconds: 300 });
      const times = found.map(({ at }) => (at - found[0]!.at) / 1000);
      console.log(`      starts after ${times.map((time) => time.toFixed(1)).join(', ')} s`);
      for (const [position, nominal] of [0, 40, 80, 150].entries()) {
        expect(times[position], `start ${position}`).to.be.within(nominal - 2, nominal + slack * position);
      }
      await cc.call('DELETE', `/v2/apps/${app}`);
    });

    it('has the instances of a dead cell started on another one after 60 to 70 seconds, and stops nothing', async () => {
      const app = await push('procfile', 2);
      const before = await untilRunning(app, 2);
      expect(new Set(before.map(({ dea }) => dea)).size).to.equal(2);
      await untilDesired(app);
      const since = peer.mark;
      const ordered = () => orders(app, since);
      const [lost] = before as [Message];
      await cells[Number(String(lost.dea).split('-')[0])]!.kill();
      const lastBeat = peer.all('dea.heartbeat', { dea: lost.dea }).at(-1)!;
      const [order] = await untilOrders(app, { count: 1, seconds: 120, since });
      const seconds = (order!.at - lastBeat.at) / 1000;
      console.log(`      ordered ${seconds.toFixed(1)} s after the last heartbeat`);
      expect(order).to.deep.include({ subject: 'hm9000.start' });
      expect(order!.data.instance_index).to.equal(lost.index);
      expect(seconds).to.be.within(58, 70 + slack);
      await untilRunning(app, 2, (found) => found.every(({ dea }) => dea !== lost.dea));
      expect(ordered()).to.have.length(1);
    });
  });
}
