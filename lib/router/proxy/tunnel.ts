import type { Duplex } from 'node:stream';

/** What is still on its way when the other end has closed gets so long to arrive. */
const lingerMs = 10_000;

export interface TunnelOptions {
  client: Duplex;
  backend: Duplex;
  /** Counts what goes to the client, and what comes from it. */
  onSent(bytes: number): void;
  onReceived(bytes: number): void;
}

/** Carries bytes both ways until one end closes; then the other one is closed, too. */
export function joinConnections({ client, backend, onSent, onReceived }: TunnelOptions): void {
  client.on('error', () => client.destroy());
  backend.on('error', () => backend.destroy());
  backend.on('data', (chunk: Buffer) => onSent(chunk.length));
  client.on('data', (chunk: Buffer) => onReceived(chunk.length));
  backend.pipe(client);
  client.pipe(backend);
  backend.once('close', () => finish(client));
  client.once('close', () => finish(backend));
}

function finish(stream: Duplex): void {
  if (stream.destroyed) return;
  const timer = setTimeout(() => stream.destroy(), lingerMs);
  stream.once('close', () => clearTimeout(timer));
  stream.end(() => stream.destroy());
}
