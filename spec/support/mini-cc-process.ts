import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dump as toYaml } from 'js-yaml';
import { eventually } from './eventually.js';
import { builtProgram } from './typescript.js';

/** `bin/mini-cc` from its sources, as a process of its own that can be killed. */
export interface MiniCcProcess {
  /** Home directory of the process: the target file is below it. */
  home: string;
  configPath: string;
  url: string;
  token: string;
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again on the same directory. */
  restart(): Promise<void>;
  /** Ends it orderly; gives the exit status. */
  terminate(): Promise<number | null>;
  /** Ends it and removes its directory. */
  stop(): Promise<void>;
}

export async function startMiniCcProcess(
  natsUrl: string,
  config: Record<string, unknown> = {},
): Promise<MiniCcProcess> {
  const home = await mkdtemp(join(tmpdir(), 'mini-cc-process-'));
  const configPath = join(home, 'mini-cc.yml');
  await writeFile(
    configPath,
    toYaml({
      data_directory: join(home, 'data'),
      external_port: 0,
      loggregator: { port: 0 },
      message_bus_servers: [natsUrl],
      logging: { file: join(home, 'mini-cc.log') },
      ...config,
    }),
  );
  let child: ChildProcess | undefined;
  const running: MiniCcProcess = {
    home,
    configPath,
    url: '',
    token: '',
    async kill() {
      child?.kill('SIGKILL');
      await gone(child);
    },
    async restart() {
      const { XDG_RUNTIME_DIR: _unused, ...environment } = process.env;
      child = spawn(process.execPath, [...builtProgram('lib/mini-cc/main.ts'), configPath], {
        env: { ...environment, HOME: home },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const { pid } = child;
      const target = await eventually(
        async () => {
          if (child?.exitCode !== null) throw new Error('mini-cc ended at its start');
          const found = JSON.parse(await readFile(join(home, '.isthmus', 'target.json'), 'utf8'));
          // One from before a kill is still there until the new process listens.
          const answer = await fetch(`${found.url}/v2/info`);
          return answer.ok && pid === child.pid ? found : undefined;
        },
        { what: 'mini-cc' },
      );
      Object.assign(running, { url: target.url, token: target.token });
    },
    async terminate() {
      child?.kill('SIGTERM');
      await gone(child);
      return child?.exitCode ?? null;
    },
    async stop() {
      await running.kill();
      await rm(home, { recursive: true, force: true });
    },
  };
  await running.restart();
  return running;
}

async function gone(child: ChildProcess | undefined): Promise<void> {
  if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
