import { expect } from 'chai';
import { AutoTransport } from '../../../lib/health-manager/orders/auto-transport.js';
import { HttpTransport, OrderRefusedError } from '../../../lib/health-manager/orders/http-transport.js';
import type { OrderTransport } from '../../../lib/health-manager/orders/transport.js';
import { MemoryStore } from '../../../lib/health-manager/store/memory/memory-store.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { type BulkCloudController, startBulkCloudController } from '../../support/bulk-cloud-controller.js';
import { HealthWorld } from '../../support/health-world.js';

const start = { message_id: 'm1', droplet: 'app-guid', version: 'v1', instance_index: 1 };
const stop = {
  message_id: 'm2',
  droplet: 'app-guid',
  version: 'v1',
  instance_guid: 'instance-guid',
  instance_index: 0,
  is_duplicate: true,
};

describe('orders over HTTP', () => {
  let controller: BulkCloudController;
  let http: HttpTransport;

  beforeEach(async () => {
    controller = await startBulkCloudController();
    const options = { baseUrl: controller.url, user: 'api', password: 's:cret', verifiesCertificate: true };
    http = new HttpTransport(options);
  });

  afterEach(async () => {
    await http.close();
    await controller.stop();
  });

  it('30. are requests with the credentials of the API, and the keys in their order', async () => {
    await http.start(start);
    await http.stop(stop);
    const [first, second] = controller.orders;
    expect(first).to.include({
      path: '/internal/dea/hm9000/start/app-guid',
      contentType: 'application/json',
      authorization: `Basic ${Buffer.from('api:s:cret').toString('base64')}`,
      body: '{"message_id":"m1","droplet":"app-guid","version":"v1","instance_index":1}',
    });
    expect(first!.requestId).to.match(/^[0-9a-f-]{36}$/);
    expect(second).to.include({
      path: '/internal/dea/hm9000/stop/app-guid',
      body: '{"message_id":"m2","droplet":"app-guid","version":"v1","instance_guid":"instance-guid","instance_index":0,"is_duplicate":true}',
    });
  });

  it('45. are refused by every answer but 200', async () => {
    for (const status of [201, 204, 400, 401, 404, 500, 503]) {
      controller.judge = () => ({ status, body: status === 204 ? '' : 'why' });
      const error = await http.start(start).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(OrderRefusedError);
      expect((error as OrderRefusedError).status).to.equal(status);
    }
  });

  it('45. are tried again under the same name until they are taken, and then no more', async () => {
    let now = 1_435_672_000;
    const times = { heartbeatTtl: 30, actualFreshnessTtl: 30, desiredFreshnessTtl: 120, crashCountTtl: 1920 };
    const store = new MemoryStore({ times, clock: () => now });
    const advance = async (seconds: number) => {
      now += seconds;
    };
    const world = new HealthWorld({ store, advance, transport: http });
    world.report('dea', { app: 'unwanted', instance: 'u' });
    const answers = [500, 404, 401];
    controller.judge = () => ({ status: answers[controller.orders.length - 1] ?? 200, body: 'why' });
    await world.becomeFresh();
    await world.tick(4);
    const names = controller.orders.map(({ body }) => (JSON.parse(body) as { message_id: string }).message_id);
    expect(names).to.have.length(4);
    expect(new Set(names).size).to.equal(1);
  });

  describe('or over NATS, as the Cloud Controller likes', () => {
    let sent: string[];
    let nowMs: number;
    let auto: AutoTransport;

    beforeEach(() => {
      sent = [];
      nowMs = 0;
      const nats: OrderTransport = {
        start: async ({ message_id }) => void sent.push(message_id),
        stop: async ({ message_id }) => void sent.push(message_id),
      };
      auto = new AutoTransport({ http, nats, monotonicMs: () => nowMs, logger: silentLogger });
    });

    const unknownApp = { status: 404, body: '{"code":100,"error_code":"CF-ProcessNotFound"}' };

    it('30. go over NATS for ten minutes to one that has no such endpoint', async () => {
      controller.judge = () => ({ status: 404, body: '<html>' });
      await auto.start(start);
      await auto.stop(stop);
      expect(sent).to.eql(['m1', 'm2']);
      expect(controller.orders).to.have.length(1);
      nowMs = 10 * 60_000 + 1;
      controller.judge = () => ({ status: 200, body: '{}' });
      await auto.start(start);
      expect(controller.orders).to.have.length(2);
      expect(sent).to.have.length(2);
    });

    it('take the word of one that does not know the app for a refusal of a start', async () => {
      controller.judge = () => unknownApp;
      expect(await auto.start(start).catch((error: unknown) => error)).to.be.instanceOf(OrderRefusedError);
      expect(sent).to.eql([]);
    });

    it('stop what it has forgotten over NATS, and go on over HTTP', async () => {
      controller.judge = () => unknownApp;
      await auto.stop(stop);
      expect(sent).to.eql(['m2']);
      await auto.stop(stop);
      expect(controller.orders).to.have.length(2);
    });

    it('fail where the Cloud Controller fails', async () => {
      controller.judge = () => ({ status: 500, body: '' });
      expect(await auto.start(start).catch((error: unknown) => error)).to.be.instanceOf(OrderRefusedError);
      expect(sent).to.eql([]);
    });
  });
});
