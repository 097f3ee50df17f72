import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError } from '../../../../process/command.js';
import { ImageError } from '../../../errors.js';
import { runHostProgram } from '../../host-program.js';
import type { RegistryReference } from '../image-reference.js';

export interface RegistryCredentials {
  username: string;
  password: string;
}

export interface SkopeoRequest {
  reference: RegistryReference;
  credentials?: RegistryCredentials;
  /** Whether the registry may be spoken to without TLS, or with a certificate that nobody knows. */
  isInsecure: boolean;
  /** Empty directory for what is downloaded and for credentials; whoever made it removes it. */
  scratch: string;
  signal: AbortSignal;
}

const manifestLimitMs = 60_000;
const copyLimitMs = 30 * 60_000;
const layoutName = 'layout';

/** What a registry answers for a reference at this moment: a manifest or an index, byte by byte. @throws ImageError */
export async function fetchManifest(request: SkopeoRequest): Promise<string> {
  const options = [...(await accessOptions(request, '')), '--raw'];
  return skopeo(request, ['inspect', ...options, location(request.reference)], manifestLimitMs);
}

/**
 * Downloads an image into an OCI layout in the scratch directory; of several platforms that of this machine.
 *
 * @returns directory of the layout
 * @throws ImageError with what the registry said
 */
export async function downloadImage(request: SkopeoRequest): Promise<string> {
  const options = await accessOptions(request, 'src-');
  // A path in the scratch directory needs no escaping.
  await skopeo(request, ['copy', '--quiet', ...options, location(request.reference), `oci:${layoutName}`], copyLimitMs);
  return join(request.scratch, layoutName);
}

/** Credentials never appear on a command line, where everybody on the host could read them. */
async function accessOptions(
  { reference, credentials, isInsecure, scratch }: SkopeoRequest,
  prefix: '' | 'src-',
): Promise<string[]> {
  const { registry } = reference;
  const auth = credentials && Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
  const file = join(scratch, 'auth.json');
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  // Also without any: those of whoever runs the engine are not those of its clients.
  await writeFile(file, JSON.stringify({ auths: auth === undefined ? {} : { [registry]: { auth } } }), { mode: 0o600 });
  return [`--authfile=${file}`, ...(isInsecure ? [`--${prefix}tls-verify=false`] : [])];
}

async function skopeo(request: SkopeoRequest, args: string[], timeoutMs: number): Promise<string> {
  const { scratch, signal, reference } = request;
  try {
    // Which images may run is decided by who asks for them, so there is no policy of the host's to be obeyed.
    const global = ['--insecure-policy', `--tmpdir=${scratch}`, '--override-os=linux'];
    const { stdout } = await runHostProgram('skopeo', 'skopeo', [...global, ...args], {
      cwd: scratch,
      signal,
      timeoutMs,
    });
    return stdout;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof CommandError)) throw error;
    const { registry, repository, version } = reference;
    throw new ImageError(`${registry}/${repository}${version} cannot be fetched: ${reasonIn(error)}`, { cause: error });
  }
}

function location({ registry, repository, version }: RegistryReference): string {
  return `docker://${registry}/${repository}${version}`;
}

/** The program logs in `key="value"` form; its last message is the reason. */
function reasonIn({ stderr, message }: CommandError): string {
  const messages = [...stderr.matchAll(/msg=("(?:[^"\\]|\\.)*")/g)];
  const quoted = messages.at(-1)?.[1];
  if (quoted === undefined) return message;
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted;
  }
}
