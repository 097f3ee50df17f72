import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorData } from '../../../logging/logger.js';
import { LaunchMark } from '../../../process/launch-mark.js';
import type { ContainerState } from '../container-state.js';
import { confinementOf, type Host, runtimeCommandOf, runtimeOf } from '../host.js';
import { capabilitiesFor } from '../runtime/capabilities.js';
import type { Account } from '../users/accounts.js';
import { attributeTeller, parseAttributes } from './attribute-tool.js';
import type { FileAttributes } from './attributed-archive.js';

const limitMs = 20_000;
const mostBytes = 16 * 1024 * 1024;

/**
 * Tells the extended attributes of files that are about to be streamed out, as their user may see them. As with tar,
 * what cannot be told is no reason to fail (docs/protocol/containers.md §3.4).
 *
 * @param request `entry` is a name in `directory`, or `.`
 */
export async function tellAttributes(
  host: Host,
  state: ContainerState,
  request: { account: Pick<Account, 'uid' | 'gid'>; directory: string; entry: string },
): Promise<FileAttributes> {
  const { account, directory, entry } = request;
  if (!host.hasAttributeTool) return new Map();
  const { uid, gid } = account;
  const { isPrivileged, capabilities: available } = confinementOf(host, state);
  const capabilities = capabilitiesFor({ uid, isPrivileged, available });
  const file = join(host.layout.container(state.handle), `attributes-${process.hrtime.bigint()}.json`);
  try {
    const teller = attributeTeller({ user: { uid, gid }, capabilities }, directory, entry);
    await writeFile(file, JSON.stringify(teller), { mode: 0o600 });
    const { program, globalArguments } = runtimeCommandOf(host, state);
    const args = [...globalArguments, 'exec', '--process', file, state.handle];
    const timeoutMs = Math.min(limitMs, runtimeOf(host, state).timeoutMs);
    return parseAttributes(await outputOf(program, args, timeoutMs));
  } catch (error) {
    host.logger.info('containers.stream-out.attributes', { handle: state.handle, ...errorData(error) });
    return new Map();
  } finally {
    await rm(file, { force: true });
  }
}

/** What a program prints, one character for each byte. @throws when it is too much, or takes too long */
function outputOf(program: string, args: string[], timeoutMs: number): Promise<string> {
  const tooMuch = new Error('extended attributes are too many, or take too long');
  const mark = LaunchMark.create();
  const env = { ...process.env, ...mark.environment };
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env, detached: true });
    // What it has started may hold the pipe open: all of that must go.
    const giveUp = () => {
      clearTimeout(timer);
      mark.end().then(() => reject(tooMuch), reject);
    };
    const timer = setTimeout(giveUp, timeoutMs);
    const parts: Buffer[] = [];
    let length = 0;
    child.stdout.on('data', (part: Buffer) => {
      length += part.length;
      if (length <= mostBytes) parts.push(part);
      else if (length - part.length <= mostBytes) giveUp();
    });
    // Files that may not be read are complained of, and are left out.
    child.stderr.resume();
    child.on('error', reject);
    child.on('close', (_, signal) => {
      clearTimeout(timer);
      if (signal !== null) reject(tooMuch);
      else resolve(Buffer.concat(parts).toString('latin1'));
    });
  });
}
