import { pipeline } from 'node:stream/promises';
import type { ContainerEngine } from '../../engine.js';
import { UnknownHandleError } from '../../errors.js';
import type { Exchange } from './exchange.js';

/** Extracts the request's body in the container. */
export async function streamIn(engine: ContainerEngine, exchange: Exchange): Promise<void> {
  const container = await engine.lookup(exchange.handle);
  const user = exchange.query.get('user');
  const destination = exchange.query.get('destination');
  try {
    if (!destination) throw new Error('destination: missing');
    await container.streamIn({ path: destination, tar: exchange.request, ...(user && { user }) });
  } catch (error) {
    if (error instanceof UnknownHandleError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`stream-in: nstar: error streaming in: ${reason}`, { cause: error });
  }
  exchange.answer({});
}

/** Answers with an archive. A failure after the first byte breaks the connection: the client must not believe in it. */
export async function streamOut(engine: ContainerEngine, exchange: Exchange): Promise<void> {
  const container = await engine.lookup(exchange.handle);
  const user = exchange.query.get('user');
  const path = exchange.query.get('source') ?? '';
  const tar = await container.streamOut({ path, ...(user && { user }) });
  exchange.response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
  await pipeline(tar, exchange.response);
}
