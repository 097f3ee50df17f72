import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpListener } from '../http/listener.js';
import { statusListener } from '../http/status-listener.js';
import type { LockStore } from '../locks/lock-store.js';
import { figuresText, prometheusType } from '../metrics/prometheus.js';
import type { Figure, Figures } from './metrics/figures.js';

export interface StatusOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  store: LockStore;
  figures: Figures;
}

/** A store that does not answer within it is not healthy. */
const healthMs = 5000;
const plain = 'text/plain; charset=utf-8';

/** `/health`, whether the store answers, and `/metrics`, over HTTP for this machine: it only tells. */
export function locketStatusListener({ host, port, store, figures }: StatusOptions): HttpListener {
  const handle = async ({ method, url = '' }: IncomingMessage, response: ServerResponse) => {
    const path = url.split('?')[0];
    if (method !== 'GET' && method !== 'HEAD') return end(response, 405, plain, 'Method Not Allowed\n');
    if (path === '/metrics') {
      return end(response, 200, prometheusType, figuresText('locket', figures.all().map(withTags)));
    }
    if (path !== '/health') return end(response, 404, plain, '404 page not found\n');
    const fault = await faultOf(store);
    if (fault === undefined) end(response, 200, plain, 'ok\n');
    else end(response, 503, plain, `${fault}\n`);
  };
  return statusListener({ host, port, handle });
}

async function faultOf(store: LockStore): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer of the store within ${healthMs} ms`), healthMs);
  });
  const answer = store.count('lock').then(
    () => undefined,
    (error: Error) => error.message,
  );
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'Content-Type': type }).end(text);
}

function withTags(figure: Figure) {
  return { ...figure, ...(figure.requestType !== undefined && { tags: { request_type: figure.requestType } }) };
}
