import { HttpListener, type HttpListenerOptions } from './listener.js';

/** For those who watch: few, and quick. */
const limits = { headersMs: 10_000, requestMs: 30_000, connections: 100 };

/** A listener over plain HTTP that tells how a program is, its health and its figures. */
export function statusListener({
  host,
  port,
  handle,
}: Pick<HttpListenerOptions, 'host' | 'port' | 'handle'>): HttpListener {
  return new HttpListener({ host, port, limits, handle });
}
