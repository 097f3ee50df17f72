import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { killAll, processesByMark } from '../../lib/process/marked-processes.js';
import { eventually } from './eventually.js';

/**
 * Starts a marked process and a stranger in the session that it sits in itself, kills what is marked, and tells which
 * of the two that was, and whether the stranger lives.
 */
const variable = 'ISTHMUS_SPEC_MARK';
const start = (env: NodeJS.ProcessEnv) =>
  spawn('sleep', ['600'], { stdio: 'ignore', env: { PATH: process.env.PATH, ...env } });
const [marked, stranger] = [start({ [variable]: 'one' }), start({})];
await Promise.all([once(marked, 'spawn'), once(stranger, 'spawn')]);
// The shell that leads the session, if one does, ends meanwhile.
await delay(300);
const names = new Map<number | undefined, string>([
  [marked.pid, 'marked'],
  [stranger.pid, 'stranger'],
  [process.pid, 'itself'],
]);
const members = () => processesByMark(variable).get('one') ?? [];
const found = await eventually(() => (members().length > 0 ? members() : undefined));
if (found.length === 1) await killAll(members, { timeoutMs: 5_000 });
const isAlive = ({ exitCode, signalCode }: ChildProcess) => exitCode === null && signalCode === null;
const answer = { marked: found.map(({ pid }) => names.get(pid) ?? 'another'), isStrangerAlive: isAlive(stranger) };
process.stdout.write(JSON.stringify(answer));
stranger.kill('SIGKILL');
marked.kill('SIGKILL');
