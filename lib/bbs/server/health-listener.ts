import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpListener } from '../../http/listener.js';
import { statusListener } from '../../http/status-listener.js';
import { prometheusText, prometheusType } from '../../metrics/prometheus.js';
import type { Figures } from '../figures/figures.js';

export interface HealthOptions {
  host: string;
  port: number;
  figures: Figures;
  /** Whether the API answers. */
  isReady: () => boolean;
}

/**
 * Says that the process lives, on every path, also when it is passive (docs/protocol/bbs.md §1). Two paths say more:
 * `/ready` whether the API answers, `/metrics` the figures for Prometheus.
 */
export function healthListener({ host, port, figures, isReady }: HealthOptions): HttpListener {
  const answer = async (path: string | undefined, response: ServerResponse) => {
    switch (path) {
      case '/ready':
        response.writeHead(isReady() ? 200 : 503).end();
        return;
      case '/metrics':
        await figures.refresh();
        response.writeHead(200, { 'Content-Type': prometheusType }).end(prometheusText('bbs', figures.kept));
        return;
      default:
        response.writeHead(200).end();
    }
  };
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    return answer(request.url?.split('?')[0], response);
  };
  return statusListener({ host, port, handle });
}
