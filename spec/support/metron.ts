import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type ReceivedEnvelope, type ReceivedLog, readEnvelope } from './dropsonde.js';

/** A Metron that records what agents on this machine send it. */
export interface Metron {
  readonly port: number;
  /** Datagrams as they came. */
  readonly datagrams: Buffer[];
  readonly envelopes: ReceivedEnvelope[];
  /** Log lines of an app, in the order of their arrival; of one source type where it is given. */
  logs(appId: string, sourceType?: string): ReceivedLog[];
  stop(): Promise<void>;
}

/** Listens on the loopback. @param port default: any that is free */
export async function startMetron(options: { port?: number; isSigned?: boolean } = {}): Promise<Metron> {
  const { port = 0, isSigned = false } = options;
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  const datagrams: Buffer[] = [];
  const read: ReceivedEnvelope[] = [];
  // Read when asked for: who reads while a burst comes in misses half of it.
  const envelopes = () => {
    for (const datagram of datagrams.slice(read.length)) {
      read.push(readEnvelope(isSigned ? datagram.subarray(32) : datagram));
    }
    return read;
  };
  socket.on('message', (datagram) => datagrams.push(datagram));
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return {
    port: socket.address().port,
    datagrams,
    get envelopes() {
      return envelopes();
    },
    logs: (appId, sourceType) =>
      envelopes().flatMap(({ log }) =>
        log?.appId === appId && (sourceType === undefined || log.sourceType === sourceType) ? [log] : [],
      ),
    async stop() {
      socket.close();
      await once(socket, 'close');
    },
  };
}
