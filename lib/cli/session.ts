import { readTargetFile, type Target, targetFilePath } from '../config/target-file.js';
import { BuildpacksClient } from './api/buildpacks.js';
import { ApiClient } from './api/client.js';
import { ApiTransport } from './api/transport.js';
import { CliError } from './cli-error.js';

/** Where a command writes, and what ends it. */
export interface Terminal {
  out(content: string | Buffer): void;
  error(text: string): void;
  /** Whether progress may be drawn over itself. */
  isInteractive: boolean;
  /** Whether a person reads what `out` gets. @default false */
  isOutputTerminal?: boolean;
  /** Standard input. @default nothing */
  input?: AsyncIterable<Buffer | string>;
  environment: NodeJS.ProcessEnv;
  /** Paths are relative to it. @default the process's own */
  directory?: string;
  /** Ctrl-C. */
  signal: AbortSignal;
}

export interface TargetOptions {
  target?: string;
  token?: string;
}

/** A command's view of the world: terminal, Cloud Controller and router. */
export interface Session {
  terminal: Terminal;
  client: ApiClient;
  buildpacks: BuildpacksClient;
  /** Base URL of the router, when known. */
  router: string | undefined;
  line(text?: string): void;
}

/** Runs a command with a session of its own. */
export type RunCommand = (command: (session: Session) => Promise<void>) => Promise<void>;

/** Runs a command with a session and closes it. @throws CliError when no target is known */
export async function withSession(
  terminal: Terminal,
  options: TargetOptions,
  command: (session: Session) => Promise<void>,
): Promise<void> {
  const target = await findTarget(options, terminal.environment);
  const transport = new ApiTransport({ target, signal: terminal.signal });
  const client = new ApiClient(transport);
  const buildpacks = new BuildpacksClient(transport);
  try {
    const router = target.router ?? (await client.info()).router ?? undefined;
    await command({ terminal, client, buildpacks, router, line: (text = '') => terminal.out(`${text}\n`) });
  } finally {
    await transport.close();
  }
}

/** `--target` goes before `$ISTHMUS_TARGET`, and that before the file that a running Cloud Controller writes. */
async function findTarget(options: TargetOptions, environment: NodeJS.ProcessEnv): Promise<Target> {
  const path = targetFilePath(environment);
  const file = await readTargetFile(path);
  const url = options.target ?? environment.ISTHMUS_TARGET ?? file?.url;
  if (url === undefined) {
    throw new CliError('no Cloud Controller is running here; start bin/standalone, or name one with --target');
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new CliError(`${url} is no http address of a Cloud Controller`);
  }
  const isFromFile = file !== undefined && new URL(url).origin === new URL(file.url).origin;
  const token = options.token ?? environment.ISTHMUS_TOKEN ?? (isFromFile ? file.token : undefined);
  if (token === undefined) throw new CliError(`no token for ${url}; give one with --token or $ISTHMUS_TOKEN`);
  return { url, token, router: isFromFile ? file.router : undefined };
}
