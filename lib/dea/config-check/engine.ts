import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { ociOptions } from '../../cell/engine.js';
import { error, type Finding, warning } from '../../config/finding.js';
import { checkHost, defaultRootfsSubject, isUsable } from '../../containers/oci/host-check.js';
import { errnoText } from '../../http/failure.js';
import { type DeaConfig, engineKind } from '../config.js';

const defaultWardenSocket = '/tmp/warden.sock';
const connectLimitMs = 2000;

/** Whether containers can be made: the engine's own trial, or an answer of the server that makes them. */
export async function checkEngine(config: DeaConfig, localIp: string): Promise<Finding[]> {
  switch (engineKind(config)) {
    case 'oci':
      return checkOci(config, localIp);
    case 'warden':
      return checkSocket('warden_socket', (config.warden_socket ?? defaultWardenSocket).replace(/^tcp:\/\//, ''));
    case 'garden':
      return checkSocket('containers.garden_address', config.containers.garden_address);
    case 'process':
      return [warning('containers.engine: apps run without any isolation')];
  }
}

async function checkOci(config: DeaConfig, localIp: string): Promise<Finding[]> {
  const { containers: settings, base_dir: baseDirectory } = config;
  const all = await checkHost(ociOptions({ settings, baseDirectory, localIp }));
  // A DEA names the root file system of each of its containers.
  const findings = all.filter(({ subject }) => subject !== defaultRootfsSubject);
  const hasEngine = isUsable(findings);
  return findings
    .filter(({ state }) => state !== 'ok')
    .map(({ subject, detail, optional, remedy }) => {
      const text = `containers.engine: ${subject}: ${detail}${remedy === undefined ? '' : ` (${remedy})`}`;
      if (optional !== undefined) return warning(`${text}; without it: no ${optional}`);
      // One of two runtimes is enough.
      return hasEngine ? warning(text) : error(text);
    });
}

async function checkSocket(key: string, address: string): Promise<Finding[]> {
  const isPath = address.startsWith('/');
  if (isPath && !(await stat(address).catch(() => undefined))) return [error(`${key}: ${address} is not there`)];
  const colon = address.lastIndexOf(':');
  const socket = isPath
    ? connect(address)
    : connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
  socket.setTimeout(connectLimitMs, () => socket.destroy(new Error('no answer in time')));
  try {
    await once(socket, 'connect');
    return [];
  } catch (cause) {
    return [error(`${key}: nobody answers at ${address} (${errnoText(cause)})`)];
  } finally {
    socket.destroy();
  }
}
