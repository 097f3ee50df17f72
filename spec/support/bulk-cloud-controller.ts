import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface BulkRequest {
  batchSize: number;
  /** As it came, decoded. */
  token: string;
  authorization: string | undefined;
}

export interface TakenOrder {
  path: string;
  authorization: string | undefined;
  contentType: string | undefined;
  requestId: string | undefined;
  /** As it came. */
  body: string;
}

export interface BulkApp {
  id: string;
  version: string;
  instances: unknown;
  state: string | null;
  package_state: string | null;
}

/** A Cloud Controller as a health manager sees it: its bulk API, and where it takes orders. */
export interface BulkCloudController {
  readonly url: string;
  readonly requests: BulkRequest[];
  readonly orders: TakenOrder[];
  apps: BulkApp[];
  /** Answers a bulk request in another way; true when it has. */
  misbehave: (request: BulkRequest, response: ServerResponse) => boolean;
  /** Status and body for an order. */
  judge: (order: TakenOrder) => { status: number; body: string };
  stop(): Promise<void>;
}

export async function startBulkCloudController(): Promise<BulkCloudController> {
  const server = createServer((request, response) => void handle(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const controller: BulkCloudController = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    orders: [],
    apps: [],
    misbehave: () => false,
    judge: () => ({ status: 200, body: '{}' }),
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, controller.url);
    const { authorization } = request.headers;
    if (url.pathname !== '/bulk/apps') {
      const order: TakenOrder = {
        path: url.pathname,
        authorization,
        contentType: request.headers['content-type'],
        requestId: request.headers['x-vcap-request-id'] as string | undefined,
        body: await textOf(request),
      };
      controller.orders.push(order);
      const { status, body } = controller.judge(order);
      response.writeHead(status).end(body);
      return;
    }
    const asked: BulkRequest = {
      batchSize: Number(url.searchParams.get('batch_size')),
      token: url.searchParams.get('bulk_token')!,
      authorization,
    };
    controller.requests.push(asked);
    if (controller.misbehave(asked, response)) return;
    const { id: from = 0 } = JSON.parse(asked.token) as { id?: number };
    const page = controller.apps.slice(from, from + asked.batchSize);
    const results = Object.fromEntries(page.map((app) => [app.id, { memory: 256, ...app }]));
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ results, bulk_token: { id: from + page.length } }));
  }

  return controller;
}

/** Apps that are wanted and staged. */
export function bulkApps(count: number): BulkApp[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `app-${index}`,
    version: 'v1',
    instances: 1,
    state: 'STARTED',
    package_state: 'STAGED',
  }));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}
