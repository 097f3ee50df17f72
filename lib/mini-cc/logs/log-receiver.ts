import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { errorData, type Logger } from '../../logging/logger.js';
import { decodeEnvelope, MalformedEnvelopeError } from '../../loggregator/envelope.js';
import { verified } from '../../loggregator/signature.js';
import type { LogLine } from './recent-logs.js';

export interface LogReceiverOptions {
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** Datagrams must be signed with it; without one they come plain. */
  sharedSecret?: string | undefined;
  logger: Logger;
  onLine(appGuid: string, line: LogLine): void;
}

const receiveBufferBytes = 4 * 1024 * 1024;

/** Takes app logs from cells as a Metron does: one envelope per datagram (docs/protocol/edge.md §5.1). */
export class LogReceiver {
  private socket: Socket | undefined;

  constructor(private readonly options: LogReceiverOptions) {}

  /** Where it listens; undefined while it does not. */
  get port(): number | undefined {
    return this.socket?.address().port;
  }

  /** Apps run without their logs being read: when the port is taken, that is logged and nothing else. */
  async start(): Promise<void> {
    const { host, port, logger } = this.options;
    const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', recvBufferSize: receiveBufferBytes });
    try {
      socket.bind(port, host);
      await once(socket, 'listening');
    } catch (error) {
      socket.close();
      logger.warn('mini-cc.logs.not-received', { host, port, ...errorData(error) });
      return;
    }
    socket.on('error', (error) => logger.warn('mini-cc.logs.socket-error', errorData(error)));
    socket.on('message', (datagram) => this.receive(datagram));
    this.socket = socket;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    const { socket } = this;
    if (!socket) return;
    this.socket = undefined;
    socket.close();
    await once(socket, 'close');
  }

  private receive(datagram: Buffer): void {
    const { sharedSecret, logger, onLine } = this.options;
    const bytes = sharedSecret === undefined ? datagram : verified(datagram, sharedSecret);
    if (!bytes) {
      logger.debug('mini-cc.logs.refused', { problem: 'the signature is missing or wrong' });
      return;
    }
    try {
      const { event } = decodeEnvelope(bytes);
      if (event.kind !== 'LogMessage') return;
      const { appId, timestampNs, type, sourceType, sourceInstance, text } = event;
      onLine(appId, { timestampNs, type, sourceType, sourceInstance, text });
    } catch (error) {
      if (!(error instanceof MalformedEnvelopeError)) throw error;
      logger.debug('mini-cc.logs.refused', { problem: error.message });
    }
  }
}
