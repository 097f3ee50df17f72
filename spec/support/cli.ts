import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from '../../lib/cli/program.js';
import { writeTargetFile } from '../../lib/config/target-file.js';
import type { MiniCcConfigInput } from '../../lib/mini-cc/config.js';
import { eventually } from './eventually.js';
import { clientToken, type RunningMiniCc, startMiniCc } from './mini-cc.js';
import type { Message } from './peer.js';
import { ScriptedAgent, type StagingScript } from './scripted-agent.js';

export interface Run {
  status: number;
  out: string;
  error: string;
}

export interface RunOptions {
  environment?: NodeJS.ProcessEnv;
  /** The current directory. @default that of the specs */
  directory?: string;
  signal?: AbortSignal;
  /** Sees the output while it grows. */
  watch?: (out: string) => void;
  /** A person reads the output. @default false */
  isOutputTerminal?: boolean;
  /** On standard input. @default nothing */
  input?: string;
}

/** A Cloud Controller with a scripted cell, and a user's home with a target file for the two. */
export interface CliWorld {
  cc: RunningMiniCc;
  agent: ScriptedAgent;
  home: string;
  /** Runs the command as a user would. */
  isthmus(args: string[], options?: RunOptions): Promise<Run>;
  /** An app as the Cloud Controller knows it. */
  record(name: string): Promise<Message>;
  stop(): Promise<void>;
}

export async function startCliWorld(options: {
  natsUrl: string;
  stage?: (script: StagingScript) => Promise<void>;
  /** Of the Cloud Controller. */
  config?: Partial<MiniCcConfigInput>;
}): Promise<CliWorld> {
  const { natsUrl, stage, config = {} } = options;
  const home = await mkdtemp(join(tmpdir(), 'cli-spec-'));
  const cc = await startMiniCc({ natsUrl, config });
  await cc.addBuildpack('scripted', 'spec/fixtures/buildpacks/static-buildpack');
  const agent = await ScriptedAgent.start({ natsUrl, memoryMb: 4096, ...(stage && { stage }) });
  await writeTargetFile(
    { url: cc.url, token: clientToken, router: agent.routerUrl },
    join(home, '.isthmus/target.json'),
  );
  await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
  return {
    cc,
    agent,
    home,
    isthmus: (args, run) => runIsthmus(home, args, run),
    record: async (name) => (await cc.call('GET', `/v2/apps?name=${name}`)).body.resources[0],
    async stop() {
      await agent.stop();
      await cc.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Runs the command as a user would who has this home. */
export async function runIsthmus(home: string, args: string[], options: RunOptions = {}): Promise<Run> {
  let out = '';
  let error = '';
  const status = await runCli(args, {
    out: (content) => {
      out += content.toString();
      options.watch?.(out);
    },
    error: (text) => {
      error += text;
    },
    isInteractive: false,
    isOutputTerminal: options.isOutputTerminal ?? false,
    ...(options.input !== undefined && { input: inputOf(options.input) }),
    environment: { HOME: home, ...options.environment },
    ...(options.directory !== undefined && { directory: options.directory }),
    signal: options.signal ?? new AbortController().signal,
  });
  return { status, out, error };
}

/** A character at a time. */
async function* inputOf(text: string): AsyncGenerator<string> {
  yield* text;
}
