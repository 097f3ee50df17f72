import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorData } from '../../../logging/logger.js';
import type { ContainerState } from '../container-state.js';
import { confinementOf, type Host, runtimeOf } from '../host.js';
import { capabilitiesFor } from '../runtime/capabilities.js';
import { withOutputOnErrors } from '../runtime/runtime-command.js';
import type { Account } from '../users/accounts.js';
import { attributeSetter, formatAttributes } from './attribute-tool.js';
import type { EntryAttributes } from './tar-normalizer.js';

const limitMs = 60_000;

/**
 * Gives files that came in as a tar stream the extended attributes that the stream told of, as far as their user may
 * set them; as with tar, what cannot be set is no reason to fail (docs/protocol/containers.md §3.4).
 */
export async function setAttributes(
  host: Host,
  state: ContainerState,
  request: { account: Pick<Account, 'uid' | 'gid'>; directory: string; entries: EntryAttributes[] },
): Promise<void> {
  const { entries, directory } = request;
  if (entries.length === 0 || !host.hasAttributeTool) return;
  const { uid, gid } = request.account;
  const { isPrivileged, capabilities: available } = confinementOf(host, state);
  const { timeoutMs } = runtimeOf(host, state);
  const runtime = withOutputOnErrors(runtimeOf(host, state), host.tools.busybox);
  const capabilities = capabilitiesFor({ uid, isPrivileged, available });
  const file = join(host.layout.container(state.handle), `attributes-${process.hrtime.bigint()}.json`);
  try {
    await writeFile(file, JSON.stringify(attributeSetter({ user: { uid, gid }, capabilities }, directory)), {
      mode: 0o600,
    });
    const { exitCode, stderr } = await host.launcher.launch({
      program: runtime.program,
      args: [...runtime.globalArguments, 'exec', '--process', file, state.handle],
      input: formatAttributes(entries),
      timeoutMs: Math.min(limitMs, timeoutMs),
    });
    if (exitCode !== 0) host.logger.info('containers.stream-in.attributes', { handle: state.handle, reason: stderr });
  } catch (error) {
    host.logger.warn('containers.stream-in.attributes', { handle: state.handle, ...errorData(error) });
  } finally {
    await rm(file, { force: true });
  }
}
