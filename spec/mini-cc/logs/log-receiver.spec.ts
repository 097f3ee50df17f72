import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { expect } from 'chai';
import { silentLogger } from '../../../lib/logging/logger.js';
import { encodeEnvelope } from '../../../lib/loggregator/envelope.js';
import { sign } from '../../../lib/loggregator/signature.js';
import { LogReceiver } from '../../../lib/mini-cc/logs/log-receiver.js';
import { eventually } from '../../support/eventually.js';
import { recordingLogger } from '../../support/recording-logger.js';

describe('receiving the logs of apps', () => {
  let receiver: LogReceiver;
  let sender: Socket;
  let lines: string[];

  beforeEach(() => {
    lines = [];
    sender = createSocket('udp4');
  });

  afterEach(async () => {
    sender.close();
    await receiver.stop();
  });

  async function start(sharedSecret?: string): Promise<void> {
    receiver = new LogReceiver({
      host: '127.0.0.1',
      port: 0,
      sharedSecret,
      logger: silentLogger,
      onLine: (app, { text, type, sourceType, sourceInstance }) =>
        lines.push(`${app} ${sourceType}/${sourceInstance} ${type} ${text}`),
    });
    await receiver.start();
  }

  const envelope = (text: string) =>
    encodeEnvelope('DEA', 1n, {
      kind: 'LogMessage',
      appId: 'app',
      text,
      type: 'ERR',
      sourceType: 'App',
      sourceInstance: '2',
    });
  const send = async (datagram: Buffer) => {
    await new Promise((resolve) => sender.send(datagram, receiver.port!, '127.0.0.1', resolve));
  };

  it('gives each line and passes over what is none', async () => {
    await start();
    await send(Buffer.from('nonsense'));
    await send(encodeEnvelope('DEA', 1n, { kind: 'ValueMetric', name: 'x', value: 1, unit: 's' }));
    await send(envelope('hello'));
    await eventually(() => (lines.length > 0 ? true : undefined));
    expect(lines).to.deep.equal(['app App/2 ERR hello']);
  });

  it('wants signatures where there is a secret', async () => {
    await start('secret');
    await send(envelope('plain'));
    await send(sign(envelope('foreign'), 'other'));
    await send(sign(envelope('signed'), 'secret'));
    await eventually(() => (lines.length > 0 ? true : undefined));
    expect(lines).to.deep.equal(['app App/2 ERR signed']);
  });

  it('does without, and says so, when the port is taken; and frees its own at the stop', async () => {
    await start();
    const port = receiver.port!;
    const { logger, lines: logged } = recordingLogger();
    const second = new LogReceiver({ host: '127.0.0.1', port, logger, onLine: () => {} });
    await second.start();
    expect(second.port).to.equal(undefined);
    expect(logged.map(({ message }) => message)).to.deep.equal(['mini-cc.logs.not-received']);
    await second.stop();
    await receiver.stop();
    const free = createSocket('udp4').bind(port, '127.0.0.1');
    await once(free, 'listening');
    free.close();
  });
});
