import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceivedUpload {
  url: string;
  headers: IncomingMessage['headers'];
  /** `name` and `filename` of the one part. */
  disposition: string;
  content: Buffer;
}

export type BlobHandler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * The blobstore side of a Cloud Controller: serves what specs put there, takes uploads, runs upload jobs, and
 * misbehaves where a spec installs a handler of its own.
 */
export interface BlobServer {
  url: string;
  /** With user and password, as the Cloud Controller spells its URLs. */
  urlWithCredentials: string;
  /** Paths of all requests, in order, `GET /x`. */
  requests: string[];
  uploads: ReceivedUpload[];
  /** Serves `content` at `path`; gives the whole URL, with credentials. */
  put(path: string, content: Buffer): string;
  /** Answers `path` by a handler. */
  handle(path: string, handler: BlobHandler): string;
  /** Stati that a droplet's upload job goes through, one per poll; the last one stays. */
  jobStates: string[];
  stop(): Promise<void>;
}

const credentials = 'staging_user:se%40cret';
const authorization = `Basic ${Buffer.from('staging_user:se@cret').toString('base64')}`;

export async function startBlobServer(): Promise<BlobServer> {
  const blobs = new Map<string, Buffer>();
  const handlers = new Map<string, BlobHandler>();
  const requests: string[] = [];
  const uploads: ReceivedUpload[] = [];
  let polls = 0;

  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://blobs');
    requests.push(`${request.method} ${request.url}`);
    const handler = handlers.get(pathname);
    if (handler) return handler(request, response);
    if (request.headers.authorization !== authorization) {
      response.writeHead(401).end('{"code":10002}');
      return;
    }
    if (request.method === 'POST') {
      void takeUpload(request, response);
      return;
    }
    if (pathname.startsWith('/staging/jobs/')) {
      const status = result.jobStates[Math.min(polls, result.jobStates.length - 1)];
      polls += 1;
      response.end(JSON.stringify(job(status!)));
      return;
    }
    const blob = blobs.get(pathname);
    if (!blob) {
      response.writeHead(404).end('{"code":10000}');
      return;
    }
    response.writeHead(200, { 'Content-Length': blob.length }).end(blob);
  });

  async function takeUpload(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const upload = parseUpload(request, Buffer.concat(chunks));
    uploads.push(upload);
    // What arrives as an app's buildpack cache can be fetched from the same place the next time.
    blobs.set(new URL(request.url!, 'http://blobs').pathname.replace(/\/upload$/, '/download'), upload.content);
    response.end(
      request.url!.includes('async=true') && upload.disposition.includes('droplet.tgz')
        ? JSON.stringify(job('queued'))
        : '',
    );
  }

  const job = (status: string) => ({
    metadata: {
      guid: 'job-1',
      created_at: '2015-06-30T13:52:36Z',
      url: `${result.urlWithCredentials}/staging/jobs/job-1`,
    },
    entity: { guid: 'job-1', status },
  });

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const result: BlobServer = {
    url: `http://127.0.0.1:${port}`,
    urlWithCredentials: `http://${credentials}@127.0.0.1:${port}`,
    requests,
    uploads,
    jobStates: ['running', 'finished'],
    put(path, content) {
      blobs.set(path, content);
      return `${result.urlWithCredentials}${path}`;
    },
    handle(path, handler) {
      handlers.set(path, handler);
      return `${result.urlWithCredentials}${path}`;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return result;
}

function parseUpload(request: IncomingMessage, body: Buffer): ReceivedUpload {
  const boundary = /boundary=(.+)$/.exec(request.headers['content-type'] ?? '')?.[1] ?? '';
  const headEnd = body.indexOf('\r\n\r\n');
  const tail = body.lastIndexOf(`\r\n--${boundary}--`);
  return {
    url: request.url!,
    headers: request.headers,
    disposition: body.subarray(0, headEnd).toString(),
    content: body.subarray(headEnd + 4, tail),
  };
}

/** SHA-1, hexadecimal. */
export function sha1(content: Buffer): string {
  return createHash('sha1').update(content).digest('hex');
}
