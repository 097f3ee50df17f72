import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent, fetch } from 'undici';
import { type BuildpackUrl, withoutCredentials } from './buildpack-url.js';
import { startDeadline } from './deadline.js';
import { BuildpackFetchError } from './errors.js';
import { type ExecutionContext, runInProcessGroup } from './process-group.js';

export interface ZipDownloadOptions {
  /** Longest time that the download may take. @default 600000 */
  timeoutMs?: number;
  /** Certificate authorities of the root file system, trusted beside the well-known ones. @default Debian's bundle */
  authoritiesFile?: string;
}

/**
 * Downloads a zipped buildpack and unpacks it into `directory`. Redirects are followed, credentials of the URL and
 * the proxy variables of the environment are honoured.
 *
 * @throws BuildpackFetchError
 */
export async function downloadBuildpack(
  source: BuildpackUrl,
  directory: string,
  context: ExecutionContext,
  options: ZipDownloadOptions = {},
): Promise<void> {
  const archive = `${directory}.zip`;
  const shownUrl = withoutCredentials(source.url);
  try {
    await download(source.url, archive, context, options);
    const { size } = await stat(archive);
    process.stdout.write(`Downloaded buildpack \`${shownUrl}\` (${humanSize(size)})\n`);
    await unzip(archive, directory, context);
  } catch (error) {
    context.signal.throwIfAborted();
    throw new BuildpackFetchError(`Failed to download buildpack at ${shownUrl}: ${messageOf(error)}`, { cause: error });
  } finally {
    await rm(archive, { force: true });
  }
}

async function download(url: string, file: string, context: ExecutionContext, options: ZipDownloadOptions) {
  const { timeoutMs = 600_000, authoritiesFile = '/etc/ssl/certs/ca-certificates.crt' } = options;
  const { bareUrl, headers } = splitCredentials(url);
  const dispatcher = createDispatcher(context.environment, await readFile(authoritiesFile, 'utf8').catch(() => ''));
  const { signal, clear } = startDeadline(context.signal, timeoutMs, new Error(`it took longer than ${timeoutMs} ms`));
  try {
    const response = await fetch(bareUrl, { headers, signal, dispatcher });
    if (response.status !== 200 || response.body === null) throw new Error(`HTTP status: ${response.status}`);
    await pipeline(Readable.fromWeb(response.body as ReadableStream), createWriteStream(file), { signal });
  } finally {
    clear();
    await dispatcher.destroy();
  }
}

function createDispatcher(environment: NodeJS.ProcessEnv, authorities: string): Dispatcher {
  const connect = { ca: [...rootCertificates, ...(authorities === '' ? [] : [authorities])] };
  const variable = (name: string) => environment[name] || environment[name.toUpperCase()];
  const httpProxy = variable('http_proxy');
  const httpsProxy = variable('https_proxy');
  if (!httpProxy && !httpsProxy) return new Agent({ connect });
  return new EnvHttpProxyAgent({
    connect,
    requestTls: connect,
    proxyTls: connect,
    // Proxies let plain requests pass as they are; many refuse tunnels to other ports than 443.
    proxyTunnel: false,
    ...(httpProxy && { httpProxy }),
    ...(httpsProxy && { httpsProxy }),
    noProxy: variable('no_proxy') ?? '',
  });
}

/** `fetch` refuses URLs with credentials; servers want them in a header. */
function splitCredentials(url: string): { bareUrl: URL; headers: Record<string, string> } {
  const bareUrl = new URL(url);
  const { username, password } = bareUrl;
  if (username === '' && password === '') return { bareUrl, headers: {} };
  bareUrl.username = '';
  bareUrl.password = '';
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { bareUrl, headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` } };
}

async function unzip(archive: string, directory: string, context: ExecutionContext): Promise<void> {
  await mkdir(directory, { recursive: true });
  const status = await runInProcessGroup('unzip', ['-q', '-o', archive, '-d', directory], context);
  // 1 is a warning: everything was unpacked.
  if (status > 1) throw new Error(`it is no usable zip file (unzip: exit status ${status})`);
}

function humanSize(bytes: number): string {
  const units = ['B', 'K', 'M', 'G'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)}${units[unit]}`;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // `fetch failed` says nothing; its cause does.
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
