import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { completeMiniCcConfig } from '../../../lib/mini-cc/config.js';
import { clientToken, type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';

const headers = { Authorization: `bearer ${clientToken}` };

describe('the logs of apps over HTTP', () => {
  let nats: NatsServer;
  let taken: Socket;

  before(async () => {
    nats = await startNats();
    taken = createSocket('udp4').bind(0, '127.0.0.1');
    await once(taken, 'listening');
  });

  after(async () => {
    taken.close();
    await nats.stop();
  });

  const createApp = async (cc: RunningMiniCc): Promise<string> =>
    (await cc.call('POST', '/v2/apps', { name: 'shop' })).body.guid;

  it('end with the Cloud Controller', async () => {
    const cc = await startMiniCc({ natsUrl: nats.url });
    const guid = await createApp(cc);
    const stream = await fetch(`${cc.url}/v2/apps/${guid}/logs/stream`, { headers });
    expect(stream.headers.get('Content-Type')).to.contain('application/x-ndjson');
    await cc.call('PUT', `/v2/apps/${guid}`, { memory: 64 });
    await cc.stop();
    // A stream that was cut off would be an error.
    const [line] = (await text(stream.body!)).trim().split('\n');
    expect(JSON.parse(line!)).to.include({ type: 'OUT', source_type: 'API', source_instance: '0' });
  });

  it('are told to be missing when their port was taken at the start', async () => {
    const cc = await startMiniCc({ natsUrl: nats.url, config: { loggregator: { port: taken.address().port } } });
    try {
      expect(cc.miniCc.logPort).to.equal(undefined);
      const guid = await createApp(cc);
      for (const path of ['recent', 'stream']) {
        const { status, body } = await cc.call('GET', `/v2/apps/${guid}/logs/${path}`);
        expect([status, body.error_code]).to.deep.equal([503, 'CF-LogsUnavailable']);
      }
    } finally {
      await cc.stop();
    }
  });

  it('are of apps that are there, and for those who have the token', async () => {
    const cc = await startMiniCc({ natsUrl: nats.url });
    try {
      expect((await cc.call('GET', '/v2/apps/nothing/logs/recent')).status).to.equal(404);
      const guid = await createApp(cc);
      expect((await fetch(`${cc.url}/v2/apps/${guid}/logs/recent`)).status).to.equal(401);
    } finally {
      await cc.stop();
    }
  });

  it('need a secret where others than this machine can send them', () => {
    const config = { data_directory: '/x', message_bus_servers: ['nats://x'] };
    const open = { bind_address: '0.0.0.0' };
    expect(() => completeMiniCcConfig({ ...config, loggregator: open })).to.throw(
      'loggregator.shared_secret: must be there',
    );
    expect(completeMiniCcConfig({ ...config, loggregator: { ...open, shared_secret: 'x' } }).loggregator.port).to.equal(
      3457,
    );
  });
});
