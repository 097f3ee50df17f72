import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Context, RootHookObject } from 'mocha';
import { stopSharedServers } from './database-server.js';
import { patience } from './eventually.js';

/** In the environment of every process that a spec starts, so that it is known after its parents are gone. */
const marker = `ISTHMUS_SPEC_RUN=${randomUUID()}`;
/** What specs stopped may need so long to be gone. */
const patienceMs = 5000;

interface Leftover {
  pid: number;
  command: string;
}

/** Fails the run when specs leave processes behind; ends those, so that a failing run leaves none either. */
export const mochaHooks: RootHookObject = {
  beforeAll(this: Context) {
    const [name, value] = marker.split('=');
    process.env[name!] = value;
    if (patience > 1) giveHooksPatience(this.test!.parent as unknown as SuiteWithHooks);
  },
  beforeEach(this: Context) {
    if (this.currentTest) this.currentTest.timeout(this.currentTest.timeout() * patience);
  },
  async afterAll() {
    await stopSharedServers();
    const leftovers = await waitUntilGone();
    for (const { pid } of leftovers) killIfAlive(pid);
    if (leftovers.length > 0) {
      const list = leftovers.map(({ pid, command }) => `  ${pid} ${command}`).join('\n');
      throw new Error(`specs left processes behind:\n${list}`);
    }
  },
};

/** What mocha has and its types leave out. */
interface SuiteWithHooks {
  suites: SuiteWithHooks[];
  getHooks(kind: 'beforeAll' | 'beforeEach' | 'afterEach' | 'afterAll'): { timeout(ms?: number): number }[];
}

function giveHooksPatience(suite: SuiteWithHooks): void {
  for (const kind of ['beforeAll', 'beforeEach', 'afterEach', 'afterAll'] as const) {
    for (const hook of suite.getHooks(kind)) hook.timeout(hook.timeout() * patience);
  }
  for (const below of suite.suites) giveHooksPatience(below);
}

async function waitUntilGone(): Promise<Leftover[]> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const leftovers = await markedProcesses();
    if (leftovers.length === 0 || Date.now() > deadline) return leftovers;
    await delay(50);
  }
}

async function markedProcesses(): Promise<Leftover[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const found = await Promise.all(pids.map((pid) => describeIfMarked(Number(pid))));
  return found.filter((leftover) => leftover !== undefined);
}

async function describeIfMarked(pid: number): Promise<Leftover | undefined> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1');
    if (!environment.split('\0').includes(marker)) return undefined;
    const command = (await readFile(`/proc/${pid}/cmdline`, 'latin1')).split('\0').join(' ').trim();
    // The loader that runs the specs keeps its compiler as a child and ends it itself. A zombie has no command.
    if (command === '' || /\/esbuild\b.*--service/.test(command)) return undefined;
    return { pid, command };
  } catch {
    // Gone meanwhile, or not ours to read.
    return undefined;
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone by itself.
  }
}
